// SPDX-License-Identifier: Apache-2.0
// The server's certificate and key, read again when their files change. A pair that does not fit
// together is not taken: the old one stays in use, and a condition reports it. gRPC's own watcher
// takes such a pair, and then refuses every connection.
#pragma once

#include <grpc/grpc_security.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/server_config.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// PEM texts that fit together.
struct CertificatePair {
  std::string certificate;
  std::string key;
  // Empty: no client certificates.
  std::string client_ca;
  // When the first certificate of the server's chain expires.
  absl::Time expire_time = absl::InfiniteFuture();
};

// Reads the files of `config`. Errors: InvalidArgument with the file, also if the key is not that
// of the first certificate, or a certificate is not issued by the one that follows it; of reading.
absl::StatusOr<CertificatePair> ReadCertificates(const v1::TlsConfig& config);

// Thread-safety: all methods may be called from any thread.
class Certificates {
 public:
  // Errors: of ReadCertificates.
  static absl::StatusOr<std::unique_ptr<Certificates>> Open(const v1::TlsConfig& config);

  // Reads the files again if they have changed. Cheap if not.
  void Refresh();
  // Calls `store` with the notice CERTIFICATE_MISMATCH when files are refused, and with
  // CERTIFICATE_MISMATCH_CLEARED when they no longer are; again until it succeeds. Errors: of
  // `store`. One thread at a time.
  absl::Status ReportChange(const std::function<absl::Status(const v1::Notice&)>& store);
  // CertificateMismatch and CertificateExpiring, as far as they are active.
  std::vector<v1::Job::Condition> Conditions(absl::Time now);
  // gRPC credentials that use the newest pair for each connection. The object outlives them.
  grpc_server_credentials* MakeCredentials();

 private:
  explicit Certificates(const v1::TlsConfig& config) : config_(config) {}
  // Of the three files: changes with their content.
  std::string Fingerprint() const;
  // What one credentials object has.
  struct Fetcher {
    Certificates* certificates;
    int64_t generation;
  };
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* fetcher, grpc_ssl_server_certificate_config** result);
  // The pair in use, if it is not that of `generation`.
  grpc_ssl_certificate_config_reload_status Renew(int64_t& generation,
                                                  grpc_ssl_server_certificate_config** result);

  const v1::TlsConfig config_;
  mutable absl::Mutex mutex_;
  CertificatePair pair_ ABSL_GUARDED_BY(mutex_);
  // Of the files at the last read.
  std::string fingerprint_ ABSL_GUARDED_BY(mutex_);
  // Why the files were not taken; OK: they were.
  absl::Status refused_ ABSL_GUARDED_BY(mutex_);
  absl::Time refused_since_ ABSL_GUARDED_BY(mutex_);
  // Whether the newest notice is CERTIFICATE_MISMATCH.
  bool mismatch_reported_ ABSL_GUARDED_BY(mutex_) = false;
  // Grows with each new pair.
  int64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<std::unique_ptr<Fetcher>> fetchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
