// SPDX-License-Identifier: Apache-2.0
#include "server/api/access/certificates.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kExpiringWithin = absl::Hours(24 * 14);

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using X509Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio ReaderOf(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
}

// The certificates of a PEM text, at least one.
absl::StatusOr<std::vector<X509Certificate>> ParseCertificates(const std::string& pem,
                                                               const std::string& path) {
  const Bio bio = ReaderOf(pem);
  std::vector<X509Certificate> certificates;
  ERR_clear_error();
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    certificates.emplace_back(next, X509_free);
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) {
    return absl::InvalidArgumentError(absl::StrCat("certificate ", certificates.size() + 1, " of ",
                                                   path, " is damaged; write the file again"));
  }
  if (!certificates.empty()) return certificates;
  return absl::InvalidArgumentError(
      absl::StrCat(path, " has no certificate; write it as PEM (-----BEGIN CERTIFICATE-----)"));
}

// A client verifies the chain up to an authority that it knows.
absl::Status CheckChain(const std::vector<X509Certificate>& chain, const std::string& path) {
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    X509* const issuer = chain[i + 1].get();
    if (X509_check_issued(issuer, chain[i].get()) == X509_V_OK &&
        X509_verify(chain[i].get(), X509_get0_pubkey(issuer)) == 1)
      continue;
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat("certificate ", i + 2, " of ", path, " did not issue certificate ", i + 1,
                     "; write the server's certificate first, then that of each issuer"));
  }
  return absl::OkStatus();
}

// Without it, OpenSSL requests a passphrase at the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<PrivateKey> ParseKey(const std::string& pem, const std::string& path) {
  const Bio bio = ReaderOf(pem);
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr), EVP_PKEY_free);
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(
      absl::StrCat(path,
                   " has no private key; write it as PEM, without a passphrase (-----BEGIN PRIVATE "
                   "KEY-----)"));
}

absl::Time ExpiryOf(const X509Certificate& certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &time) != 1)
    return absl::InfiniteFuture();
  return absl::FromTM(time, absl::UTCTimeZone());
}

grpc_ssl_client_certificate_request_type RequestType(const v1::TlsConfig& config) {
  const auto mode = config.client_certificates();
  if (mode == v1::TlsConfig::CLIENT_CERTIFICATES_REQUIRED)
    return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  const bool by_default =
      mode == v1::TlsConfig::CLIENT_CERTIFICATES_UNSPECIFIED && config.has_client_ca();
  return mode == v1::TlsConfig::CLIENT_CERTIFICATES_OPTIONAL || by_default
             ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
}

}  // namespace

absl::StatusOr<CertificatePair> ReadCertificates(const v1::TlsConfig& config) {
  CertificatePair pair;
  ASSIGN_OR_RETURN(pair.certificate, ReadFile(config.certificate()));
  ASSIGN_OR_RETURN(pair.key, ReadFile(config.key()));
  ASSIGN_OR_RETURN(const std::vector<X509Certificate> chain,
                   ParseCertificates(pair.certificate, config.certificate()));
  ASSIGN_OR_RETURN(const PrivateKey key, ParseKey(pair.key, config.key()));
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key ", config.key(), " is not that of the certificate ",
                     config.certificate(), "; use files of one pair"));
  }
  RETURN_IF_ERROR(CheckChain(chain, config.certificate()));
  for (const X509Certificate& certificate : chain)
    pair.expire_time = std::min(pair.expire_time, ExpiryOf(certificate));
  if (!config.has_client_ca()) return pair;
  ASSIGN_OR_RETURN(pair.client_ca, ReadFile(config.client_ca()));
  RETURN_IF_ERROR(ParseCertificates(pair.client_ca, config.client_ca()).status());
  return pair;
}

absl::StatusOr<std::unique_ptr<Certificates>> Certificates::Open(const v1::TlsConfig& config) {
  std::unique_ptr<Certificates> certificates(new Certificates(config));
  absl::MutexLock lock(&certificates->mutex_);
  certificates->fingerprint_ = certificates->Fingerprint();
  absl::StatusOr<CertificatePair> pair = ReadCertificates(config);
  if (!pair.ok()) return Annotate(pair.status(), "tls");
  certificates->pair_ = *std::move(pair);
  return certificates;
}

std::string Certificates::Fingerprint() const {
  std::string fingerprint;
  for (const std::string& path : {config_.certificate(), config_.key(), config_.client_ca()}) {
    struct stat info {};
    if (path.empty() || ::stat(path.c_str(), &info) != 0) {
      fingerprint += "-;";
      continue;
    }
    absl::StrAppend(&fingerprint, info.st_dev, ":", info.st_ino, ":", info.st_size, ":",
                    info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, ":", info.st_ctim.tv_sec, ".",
                    info.st_ctim.tv_nsec, ";");
  }
  return fingerprint;
}

void Certificates::Refresh() {
  absl::MutexLock lock(&mutex_);
  std::string fingerprint = Fingerprint();
  // What was refused is read again: a file may have been unreadable for a moment.
  if (fingerprint == fingerprint_ && refused_.ok()) return;
  // Read after the fingerprint: a change in between is found by the next call.
  absl::StatusOr<CertificatePair> pair = ReadCertificates(config_);
  fingerprint_ = std::move(fingerprint);
  if (!pair.ok()) {
    if (refused_.ok()) refused_since_ = absl::Now();
    if (refused_ == pair.status()) return;
    refused_ = pair.status();
    spdlog::error("the changed TLS files are not taken, the old ones stay in use: {}",
                  std::string(refused_.message()));
    return;
  }
  refused_ = absl::OkStatus();
  pair_ = *std::move(pair);
  ++generation_;
  spdlog::info("new TLS certificate, valid until {}", absl::FormatTime(pair_.expire_time));
}

absl::Status Certificates::ReportChange(
    const std::function<absl::Status(const v1::Notice&)>& store) {
  v1::Notice notice;
  bool mismatch = false;
  {
    absl::MutexLock lock(&mutex_);
    mismatch = !refused_.ok();
    if (mismatch == mismatch_reported_) return absl::OkStatus();
    notice.set_level(mismatch ? v1::Notice::ERROR : v1::Notice::INFO);
    notice.set_code(mismatch ? "CERTIFICATE_MISMATCH" : "CERTIFICATE_MISMATCH_CLEARED");
    notice.set_message(
        mismatch ? absl::StrCat(refused_.message(), "; the certificate from before stays in use")
                 : absl::StrCat(config_.certificate(), " and its key are in use, until ",
                                absl::FormatTime(pair_.expire_time)));
  }
  RETURN_IF_ERROR(store(notice));
  absl::MutexLock lock(&mutex_);
  mismatch_reported_ = mismatch;
  return absl::OkStatus();
}

std::vector<v1::Job::Condition> Certificates::Conditions(absl::Time now) {
  Refresh();
  absl::MutexLock lock(&mutex_);
  std::vector<v1::Job::Condition> conditions;
  const auto add = [&](const char* type, const std::string& message, absl::Time since) {
    v1::Job::Condition& condition = conditions.emplace_back();
    condition.set_type(type);
    condition.set_active(true);
    condition.set_reason(type);
    condition.set_message(message);
    *condition.mutable_since() = ToProto(since);
  };
  if (!refused_.ok()) {
    add("CertificateMismatch",
        absl::StrCat(refused_.message(), "; the certificate from before stays in use"),
        refused_since_);
  }
  if (pair_.expire_time - now < kExpiringWithin) {
    add("CertificateExpiring",
        absl::StrCat(config_.certificate(),
                     pair_.expire_time < now ? " expired at " : " expires at ",
                     absl::FormatTime(pair_.expire_time),
                     "; replace it and its key, the daemon reads them again"),
        pair_.expire_time - kExpiringWithin);
  }
  return conditions;
}

grpc_ssl_certificate_config_reload_status Certificates::Fetch(
    void* fetcher, grpc_ssl_server_certificate_config** result) {
  auto* const state = static_cast<Fetcher*>(fetcher);
  return state->certificates->Renew(state->generation, result);
}

grpc_ssl_certificate_config_reload_status Certificates::Renew(
    int64_t& generation, grpc_ssl_server_certificate_config** result) {
  Refresh();
  absl::MutexLock lock(&mutex_);
  if (generation == generation_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pem = {pair_.key.c_str(), pair_.certificate.c_str()};
  *result = grpc_ssl_server_certificate_config_create(
      pair_.client_ca.empty() ? nullptr : pair_.client_ca.c_str(), &pem, 1);
  generation = generation_;
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

grpc_server_credentials* Certificates::MakeCredentials() {
  absl::MutexLock lock(&mutex_);
  fetchers_.push_back(std::make_unique<Fetcher>(Fetcher{this, 0}));
  return grpc_ssl_server_credentials_create_with_options(
      grpc_ssl_server_credentials_create_options_using_config_fetcher(RequestType(config_), Fetch,
                                                                      fetchers_.back().get()));
}

}  // namespace trainerd::server
