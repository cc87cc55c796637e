// SPDX-License-Identifier: Apache-2.0
// Random numbers of weights before training. Each number is a function of the key and its index, so
// they do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace trainerd::engine {

// Numbers of Normal(0, deviation), computed in fp32 and copied to `target`, which may have any
// dtype and device. Source: Box and Muller, "A Note on the Generation of Random Normal Deviates"
// (1958).
void FillNormal(const at::Tensor& target, uint64_t key, double deviation);
// Numbers of the uniform distribution in (-bound, bound), in the same way.
void FillUniform(const at::Tensor& target, uint64_t key, double bound);

}  // namespace trainerd::engine
