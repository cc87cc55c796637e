// SPDX-License-Identifier: Apache-2.0
// What the preview tests share: trainerd-inspect as a script of a few lines, in which token ids are
// the code points of the text, so that expectations are readable.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {

// "ab" is not trained, "cd" is.
constexpr char kInspect[] = R"sh(#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
case "$1" in
  preview)
    case "$*" in
      *--packed*) echo '{"row":0,"index":[4,2],"cu_seqlens":[0,2,4],"ids":[97,98,99,100],'\
'"labels":[-100,98,-100,-100],"tokens":["a","b","c","d"]}' ;;
      *) echo '{"index":0,"text":"abcd","ids":[97,98,99,100],'\
'"labels":[-100,-100,99,100],"tokens":["a","b","c","d"]}'
         echo '{"index":1,"text":"ab","ids":[97,98],"labels":[-100,-100],'\
'"tokens":["a","b"],"left_out":"no target"}' ;;
    esac ;;
esac
)sh";

class PreviewTest : public ::testing::Test {
 protected:
  PreviewTest() {
    folder_.Write("job.yaml", "model: {path: tiny}\ndata: {train: a.jsonl}\n");
    folder_.Write("trainerd-inspect", kInspect, 0700);
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(folder_.path() + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string Calls() const { return Read("calls"); }
  TempDir folder_;
};

}  // namespace trainerd::client
