// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/api_services.h"

#include "trainerd/v1/evaluation.pb.h"
#include "trainerd/v1/file.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd {

std::vector<const google::protobuf::ServiceDescriptor*> ApiServices() {
  std::vector<const google::protobuf::ServiceDescriptor*> services;
  for (const google::protobuf::FileDescriptor* file :
       {v1::GetJobRequest::descriptor()->file(), v1::File::descriptor()->file(),
        v1::Evaluation::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) services.push_back(file->service(i));
  }
  return services;
}

}  // namespace trainerd
