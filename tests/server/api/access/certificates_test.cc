// SPDX-License-Identifier: Apache-2.0
// Which files are taken, and what is reported of those that are not.
#include "server/api/access/certificates.h"

#include <gmock/gmock.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "proto/base/time.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

// A certificate with its key, in memory.
struct Pair {
  std::shared_ptr<EVP_PKEY> key;
  std::shared_ptr<X509> certificate;
};

template <typename Object>
std::string Pem(int (*write)(BIO*, Object), Object object) {
  BIO* bio = BIO_new(BIO_s_mem());
  EXPECT_EQ(write(bio, object), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::string CertificatePem(const Pair& pair) {
  return Pem<const X509*>(
      [](BIO* bio, const X509* value) { return PEM_write_bio_X509(bio, value); },
      pair.certificate.get());
}

std::string KeyPem(const Pair& pair) {
  return Pem<const EVP_PKEY*>(
      [](BIO* bio, const EVP_PKEY* value) {
        return PEM_write_bio_PrivateKey(bio, value, nullptr, nullptr, 0, nullptr, nullptr);
      },
      pair.key.get());
}

// Signed by `issuer`, or by itself.
Pair Make(const std::string& name, const Pair* issuer, int days) {
  Pair pair;
  pair.key.reset(EVP_EC_gen("P-256"), EVP_PKEY_free);
  pair.certificate.reset(X509_new(), X509_free);
  X509* certificate = pair.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  static int serial = 0;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86'400L * days);
  X509_set_pubkey(certificate, pair.key.get());
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  const Pair& signer = issuer == nullptr ? pair : *issuer;
  X509_set_issuer_name(certificate, X509_get_subject_name(signer.certificate.get()));
  X509_EXTENSION* authority =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
  X509_add_ext(certificate, authority, -1);
  X509_EXTENSION_free(authority);
  EXPECT_GT(X509_sign(certificate, signer.key.get(), EVP_sha256()), 0);
  return pair;
}

class CertificatesTest : public ::testing::Test {
 protected:
  CertificatesTest() {
    config_.set_certificate(dir_ / "server.pem");
    config_.set_key(dir_ / "server.key");
  }
  void Write(const std::string& chain, const Pair& key) {
    dir_.Write("server.pem", chain);
    dir_.Write("server.key", KeyPem(key));
  }
  std::string Error() { return std::string(ReadCertificates(config_).status().message()); }

  TempDir dir_;
  v1::TlsConfig config_;
  const Pair root_ = Make("root", nullptr, 300);
  const Pair middle_ = Make("middle", &root_, 20);
  const Pair server_ = Make("server", &middle_, 90);
  const Pair other_ = Make("other", nullptr, 90);
};

TEST_F(CertificatesTest, TakesAChainInItsOrderUntilItsFirstEnd) {
  Write(CertificatePem(server_), server_);
  EXPECT_OK(ReadCertificates(config_).status());
  Write(CertificatePem(server_) + CertificatePem(middle_) + CertificatePem(root_), server_);
  const auto pair = ReadCertificates(config_);
  ASSERT_OK(pair.status());
  EXPECT_NEAR(absl::ToDoubleHours(pair->expire_time - absl::Now()), 20 * 24, 1);
}

TEST_F(CertificatesTest, RefusesAChainWithAnotherIssuer) {
  Write(CertificatePem(server_) + CertificatePem(other_), server_);
  EXPECT_THAT(Error(), HasSubstr("certificate 2 of"));
  Write(CertificatePem(server_) + CertificatePem(root_) + CertificatePem(middle_), server_);
  EXPECT_THAT(Error(), HasSubstr("did not issue certificate 1"));
  // The name of the issuer, but not its key.
  const Pair impostor = Make("middle", &root_, 20);
  Write(CertificatePem(server_) + CertificatePem(impostor), server_);
  EXPECT_THAT(Error(), HasSubstr("did not issue certificate 1"));
}

TEST_F(CertificatesTest, RefusesADamagedCertificateOfAChain) {
  std::string damaged = CertificatePem(middle_);
  damaged.replace(damaged.find('\n') + 1, 8, "AAAAAAAA");
  Write(CertificatePem(server_) + damaged, server_);
  EXPECT_THAT(Error(), HasSubstr("certificate 2 of"));
  Write("", server_);
  EXPECT_THAT(Error(), HasSubstr("has no certificate"));
}

TEST_F(CertificatesTest, ReadsEveryAuthorityOfClients) {
  Write(CertificatePem(server_), server_);
  config_.set_client_ca(dir_ / "ca.pem");
  dir_.Write("ca.pem", CertificatePem(root_) + CertificatePem(other_));
  EXPECT_TRUE(ReadCertificates(config_).ok()) << "they need not belong together";
  dir_.Write("ca.pem", CertificatePem(root_) + CertificatePem(other_).substr(0, 200));
  EXPECT_THAT(Error(), HasSubstr("ca.pem"));
}

TEST_F(CertificatesTest, ReportsAMismatchAndItsEndOnce) {
  Write(CertificatePem(server_) + CertificatePem(middle_), server_);
  auto certificates = Certificates::Open(config_);
  ASSERT_OK(certificates.status());
  std::vector<std::string> codes;
  absl::Status answer;
  const auto report = [&] {
    (*certificates)->Refresh();
    return (*certificates)->ReportChange([&](const v1::Notice& notice) {
      codes.push_back(notice.code());
      return answer;
    });
  };
  EXPECT_OK(report());
  EXPECT_TRUE(codes.empty());
  dir_.Write("server.key", KeyPem(other_));
  answer = absl::UnavailableError("the database is busy");
  EXPECT_EQ(report(), answer);
  answer = absl::OkStatus();
  EXPECT_OK(report());
  EXPECT_OK(report());
  EXPECT_EQ(codes, (std::vector<std::string>(2, "CERTIFICATE_MISMATCH"))) << "again after an error";
  dir_.Write("server.pem", CertificatePem(other_));
  EXPECT_OK(report());
  EXPECT_OK(report());
  EXPECT_EQ(codes.size(), 3u);
  EXPECT_EQ(codes.back(), "CERTIFICATE_MISMATCH_CLEARED");
}

}  // namespace
}  // namespace trainerd::server
