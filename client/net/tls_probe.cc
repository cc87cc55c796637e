// SPDX-License-Identifier: Apache-2.0
#include "client/net/tls_probe.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/fd.h"

namespace trainerd::client {
namespace {

// Of each connect, read and write.
constexpr timeval kPatience = {3, 0};

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Session = std::unique_ptr<SSL, decltype(&SSL_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

struct HostPort {
  std::string host;
  std::string port;
};

HostPort Split(const std::string& text) {
  const size_t colon = text.rfind(':');
  HostPort result{text.substr(0, colon), text.substr(colon + 1)};
  if (absl::StartsWith(result.host, "[") && absl::EndsWith(result.host, "]"))
    result.host = result.host.substr(1, result.host.size() - 2);
  return result;
}

// Not open: nobody listens.
Fd Connect(const HostPort& to) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(to.host.c_str(), to.port.c_str(), &hints, &found) != 0) return Fd();
  Fd connected;
  for (const addrinfo* at = found; at != nullptr && !connected.is_open(); at = at->ai_next) {
    Fd fd(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.is_open()) continue;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
    if (::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0) connected = std::move(fd);
  }
  ::freeaddrinfo(found);
  return connected;
}

class IgnoredSigPipe {
 public:
  IgnoredSigPipe() : before_(::signal(SIGPIPE, SIG_IGN)) {}
  ~IgnoredSigPipe() { ::signal(SIGPIPE, before_); }

 private:
  const sighandler_t before_;
};

Bio ReaderOf(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
}

void AddAuthorities(const std::string& pem, SSL_CTX* context) {
  if (pem.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    return;
  }
  const Bio bio = ReaderOf(pem);
  while (true) {
    const Certificate authority(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
    if (authority == nullptr) break;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
  }
}

// Why the client's own pair cannot be used; empty: it can, or there is none.
std::string AddPair(const Address& address, SSL_CTX* context) {
  if (address.certificate.empty()) return "";
  const Bio certificate_bio = ReaderOf(address.certificate), key_bio = ReaderOf(address.key);
  const Certificate certificate(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr),
                                X509_free);
  const Key key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (certificate == nullptr) return "the file of --cert-file has no certificate";
  if (key == nullptr) return "the file of --key-file has no private key";
  if (X509_check_private_key(certificate.get(), key.get()) != 1)
    return "the key of --key-file is not that of the certificate of --cert-file; use files of one "
           "pair";
  SSL_CTX_use_certificate(context, certificate.get());
  SSL_CTX_use_PrivateKey(context, key.get());
  return "";
}

void ExpectName(const std::string& host, SSL* session) {
  X509_VERIFY_PARAM* expected = SSL_get0_param(session);
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) == 1) return;
  X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size());
  SSL_set_tlsext_host_name(session, host.c_str());
}

// What is wrong with the daemon's certificate; empty: nothing.
std::string OfCertificate(const Address& address, int64_t verified) {
  const std::string subject =
      absl::StrCat("the certificate of the daemon at ", address.display, " ");
  if (verified == X509_V_OK) return "";
  if (verified == X509_V_ERR_CERT_HAS_EXPIRED)
    return absl::StrCat(subject,
                        "has expired; renew it on the daemon's machine, or set the clock of this "
                        "one");
  if (verified == X509_V_ERR_CERT_NOT_YET_VALID)
    return absl::StrCat(subject, "is not valid yet; check the clocks of both machines");
  if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
    return absl::StrCat(subject,
                        "is for another name; use a name of its subjectAltName in the address");
  return absl::StrCat(
      subject, "is not signed by ",
      address.ca.empty() ? "an authority of this system" : "the authority of the CA file", " (",
      X509_verify_cert_error_string(verified),
      "); set --ca-file or TRAINERD_CA_FILE to the PEM file of the authority that signed it");
}

// The daemon has closed the connection after it has got the client's certificate, or none.
std::string OfClient(const Address& address) {
  if (address.certificate.empty())
    return absl::StrCat("the daemon at ", address.display,
                        " probably requires a client certificate; set --cert-file and --key-file");
  return absl::StrCat("the daemon at ", address.display,
                      " probably refuses the client certificate; use one that the authority of its "
                      "tls.client_ca signed and that has not expired");
}

// What the newest error of the library means; empty: it is another one.
std::string OfLibraryError(const Address& address) {
  const unsigned long error = ERR_peek_last_error();  // NOLINT: the type of the library
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return "";
  const int reason = ERR_GET_REASON(error);
  if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST)
    return absl::StrCat("the program at ", address.display,
                        " does not speak TLS; use the port of the daemon's tls: address");
  // From here on, alerts of the daemon.
  return reason < SSL_AD_REASON_OFFSET ? "" : OfClient(address);
}

}  // namespace

std::string TlsProblem(const Address& address) {
  // A write to a connection that the daemon has closed is an error, not the end of the program.
  const IgnoredSigPipe no_signal;
  const Context context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (context == nullptr) return "";
  AddAuthorities(address.ca, context.get());
  if (std::string problem = AddPair(address, context.get()); !problem.empty()) return problem;
  const HostPort to = Split(address.host_port);
  const Fd fd = Connect(to);
  if (!fd.is_open()) return "";
  const Session session(SSL_new(context.get()), SSL_free);
  ExpectName(to.host, session.get());
  SSL_set_verify(session.get(), SSL_VERIFY_PEER, nullptr);
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(session.get(), kHttp2, sizeof(kHttp2));
  SSL_set_fd(session.get(), fd.get());
  ERR_clear_error();
  if (SSL_connect(session.get()) == 1) {
    // In TLS 1.3 the daemon checks the client's certificate after that, and closes the connection
    // if it refuses it. If not, it sends the settings of HTTP/2.
    char byte = 0;
    const int got = SSL_read(session.get(), &byte, 1);
    const bool is_open = got == 1 || SSL_get_error(session.get(), got) == SSL_ERROR_WANT_READ;
    return is_open ? "" : OfClient(address);
  }
  std::string problem = OfCertificate(address, SSL_get_verify_result(session.get()));
  return problem.empty() ? OfLibraryError(address) : problem;
}

}  // namespace trainerd::client
