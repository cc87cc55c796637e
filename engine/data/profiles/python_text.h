// SPDX-License-Identifier: Apache-2.0
// str.strip, lstrip and rstrip of Python: all Unicode white space, over UTF-8.
#pragma once

#include <string_view>

namespace trainerd::engine {

std::string_view PythonLstrip(std::string_view text);
std::string_view PythonRstrip(std::string_view text);
std::string_view PythonStrip(std::string_view text);

}  // namespace trainerd::engine
