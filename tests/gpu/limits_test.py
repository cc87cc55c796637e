# SPDX-License-Identifier: Apache-2.0
"""The formula against values calculated by hand for Qwen3 on an H200."""

import unittest

import limits


class LimitsTest(unittest.TestCase):
    def test_counts_parameters_of_layers(self):
        self.assertAlmostEqual(
            limits.body_parameters(limits.SHAPES["qwen3-0.6b"]) / 1e6, 440.4, delta=0.1
        )
        self.assertAlmostEqual(
            limits.body_parameters(limits.SHAPES["qwen3-1.7b"]) / 1e6, 1409.3, delta=0.1
        )

    def test_computes_limit_for_target_tokens_only(self):
        for shape, length, expected in (
            ("qwen3-0.6b", 2048, 184.6e3),
            ("qwen3-0.6b", 4096, 158.5e3),
            ("qwen3-1.7b", 2048, 71.6e3),
            ("qwen3-1.7b", 4096, 67.3e3),
        ):
            limit = limits.limit_tokens_per_second(limits.SHAPES[shape], 1.0, length, "NVIDIA H200")
            self.assertAlmostEqual(limit / expected, 1, delta=0.002, msg=f"{shape} {length}")

    def test_raises_limit_for_fewer_target_tokens(self):
        limit = limits.limit_tokens_per_second(
            limits.SHAPES["qwen3-0.6b"], 0.5, 2048, "NVIDIA H200"
        )
        self.assertAlmostEqual(limit / 207e3, 1, delta=0.002)

    def test_weights_lengths_of_packed_documents(self):
        self.assertEqual(limits.mean_square_length([512] * 7), 512)
        self.assertEqual(limits.mean_square_length([100, 300]), 250)

    def test_has_no_limit_for_unknown_gpu(self):
        self.assertIsNone(
            limits.limit_tokens_per_second(limits.SHAPES["qwen3-0.6b"], 1.0, 2048, "NVIDIA A10")
        )


if __name__ == "__main__":
    unittest.main()
