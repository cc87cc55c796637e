# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT: kTokenCodeVersion, a SHA-256 over the names and contents of the sources in FOLDERS (separated by commas) of ROOT.
string(REPLACE "," ";" folders "${FOLDERS}")
set(all "")
foreach(folder ${folders})
  file(GLOB files RELATIVE ${ROOT} ${ROOT}/${folder}/*.cc ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.inc)
  list(SORT files)
  foreach(file ${files})
    file(SHA256 ${ROOT}/${file} hash)
    string(APPEND all "${file} ${hash}\n")
  endforeach()
endforeach()
string(SHA256 version "${all}")
file(WRITE ${OUTPUT} "namespace trainerd::engine { extern const char kTokenCodeVersion[]; const char kTokenCodeVersion[] = \"${version}\"; }\n")
