// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/files/file_kind.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/placeholder_file.h"

namespace trainerd::engine {
namespace {

using std::string_view_literals::operator""sv;

struct FileKind {
  std::string_view magic;
  const char* name;
  // What to do, after "is NAME, not JSON; ".
  const char* advice;
};

constexpr char kPandas[] =
    "convert it, for example: python3 -c \"import pandas; "
    "pandas.read_parquet('FILE').to_json('FILE.jsonl', orient='records', lines=True)\"";
constexpr char kFeather[] =
    "convert it, for example: python3 -c \"import pandas; "
    "pandas.read_feather('FILE').to_json('FILE.jsonl', orient='records', lines=True)\"";
constexpr char kDatasets[] =
    "convert it, for example: python3 -c \"import datasets; "
    "datasets.Dataset.from_file('FILE').to_json('FILE.jsonl')\"";
constexpr char kPickle[] =
    "load it in Python with the library that wrote it, and write one json.dumps(record) per line";

constexpr FileKind kKinds[] = {
    {"PAR1"sv, "a Parquet file", kPandas},
    {"\xfd"
     "7zXZ\0"sv,
     "an xz archive", "unpack it: xz -dk FILE"},
    {"BZh"sv, "a bzip2 archive", "unpack it: bzip2 -dk FILE"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "unpack it: 7z x FILE"},
    {"\x04\x22\x4d\x18"sv, "an lz4 archive", "unpack it: lz4 -dk FILE"},
    {"Rar!\x1a\x07"sv, "a RAR archive", "unpack it: unrar x FILE"},
    {"PK\x03\x04"sv, "a zip archive",
     "unpack it: unzip FILE (a .pt or .bin file is PyTorch's, an .xlsx file Excel's: export its "
     "records as JSONL)"},
    {"PK\x05\x06"sv, "an empty zip archive", "check how it was made"},
    {"ARROW1"sv, "an Arrow (Feather) file", kFeather},
    {"FEA1"sv, "a Feather file", kFeather},
    {"\xff\xff\xff\xff"sv, "an Arrow stream", kDatasets},
    {"SQLite format 3\0"sv, "an SQLite database",
     "export its records, for example: sqlite3 -json FILE 'SELECT * FROM …' | jq -c '.[]'"},
    {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file", kPickle},
    {"\x93NUMPY"sv, "a NumPy file", kPickle},
    {"Obj\x01"sv, "an Avro file", kPickle},
    {"ORC"sv, "an ORC file", kPickle},
    {"%PDF-"sv, "a PDF document", "extract its text"},
    {"\x7f"
     "ELF"sv,
     "a program", "check data.train and data.validation"},
};

constexpr size_t kTarMagicOffset = 257;

bool IsPickle(std::string_view start) {
  return start.size() > 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
}

std::string Advice(const char* name, const char* advice) {
  return absl::StrCat("is ", name, ", not JSON; ", advice);
}

}  // namespace

std::string FileKindAdvice(std::string_view start) {
  for (const FileKind& kind : kKinds) {
    if (start.substr(0, kind.magic.size()) == kind.magic) return Advice(kind.name, kind.advice);
  }
  if (IsPickle(start)) return Advice("a Python pickle", kPickle);
  if (start.size() > kTarMagicOffset && start.substr(kTarMagicOffset, 5) == "ustar") {
    return Advice("a tar archive", "unpack it: tar -xf FILE");
  }
  if (IsGitLfsPointer(start)) {
    return Advice("a Git LFS pointer", "fetch the file itself: git lfs pull");
  }
  if (absl::StartsWith(
          absl::StripLeadingAsciiWhitespace(absl::string_view(start.data(), start.size())), "<")) {
    return Advice(IsHtmlPage(start) ? "an HTML page" : "an XML or HTML text",
                  "it is probably an error page that was saved in place of the data: download the "
                  "file again");
  }
  return "";
}

}  // namespace trainerd::engine
