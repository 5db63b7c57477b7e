#pragma once
// OpenSSL with what is macros, callbacks or stacks in its headers, which Swift cannot see.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

// What a connection's BIO reads from and writes to: the slice of ciphertext just received, and a buffer that grows.
typedef struct {
  const unsigned char *input;
  size_t input_length;
  unsigned char *output;
  size_t output_length;
  size_t output_capacity;
} spanwire_tls_buffers;

static int spanwire_tls_bio_read(BIO *bio, char *to, size_t length, size_t *count) {
  spanwire_tls_buffers *buffers = (spanwire_tls_buffers *)BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (buffers->input_length == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  size_t taken = length < buffers->input_length ? length : buffers->input_length;
  memcpy(to, buffers->input, taken);
  buffers->input += taken;
  buffers->input_length -= taken;
  *count = taken;
  return 1;
}

static int spanwire_tls_bio_write(BIO *bio, const char *from, size_t length, size_t *count) {
  spanwire_tls_buffers *buffers = (spanwire_tls_buffers *)BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (buffers->output_capacity - buffers->output_length < length) {
    size_t capacity = buffers->output_capacity * 2;
    if (capacity < buffers->output_length + length) capacity = buffers->output_length + length;
    if (capacity < 4096) capacity = 4096;
    unsigned char *output = (unsigned char *)realloc(buffers->output, capacity);
    if (!output) return 0;
    buffers->output = output;
    buffers->output_capacity = capacity;
  }
  memcpy(buffers->output + buffers->output_length, from, length);
  buffers->output_length += length;
  *count = length;
  return 1;
}

static long spanwire_tls_bio_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static inline BIO_METHOD *spanwire_tls_bio_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "spanwire");
  if (!method) return NULL;
  BIO_meth_set_read_ex(method, spanwire_tls_bio_read);
  BIO_meth_set_write_ex(method, spanwire_tls_bio_write);
  BIO_meth_set_ctrl(method, spanwire_tls_bio_control);
  return method;
}

// The connection owns the BIO from here on; the buffers must outlive it.
static inline int spanwire_tls_attach(SSL *ssl, BIO_METHOD *method, spanwire_tls_buffers *buffers) {
  BIO *bio = BIO_new(method);
  if (!bio) return 0;
  BIO_set_data(bio, buffers);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  return 1;
}

// Protocols in the wire form of ALPN: a length byte before each.
typedef struct {
  unsigned int length;
  unsigned char bytes[255];
} spanwire_tls_protocols;

static int spanwire_tls_select(
    SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in, unsigned int in_length, void *argument) {
  (void)ssl;
  const spanwire_tls_protocols *ours = (const spanwire_tls_protocols *)argument;
  int result = SSL_select_next_proto((unsigned char **)out, out_length, ours->bytes, ours->length, in, in_length);
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}
static inline void spanwire_tls_offer(SSL_CTX *context, spanwire_tls_protocols *protocols) {
  SSL_CTX_set_alpn_protos(context, protocols->bytes, protocols->length);
}
static inline void spanwire_tls_accept(SSL_CTX *context, spanwire_tls_protocols *protocols) {
  SSL_CTX_set_alpn_select_cb(context, spanwire_tls_select, protocols);
}

static inline void spanwire_tls_defaults(SSL_CTX *context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Idle connections give their record buffers back; an address that moves between writes is no error, since nothing is ever half written.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}
static inline int spanwire_tls_add_chain(SSL_CTX *context, X509 *certificate) { return (int)SSL_CTX_add0_chain_cert(context, certificate); }
static inline void spanwire_tls_limit_version(SSL_CTX *context, int version) {
  SSL_CTX_set_min_proto_version(context, version);
  SSL_CTX_set_max_proto_version(context, version);
}
static inline int spanwire_tls_server_name(SSL *ssl, const char *name) { return (int)SSL_set_tlsext_host_name(ssl, name); }

static inline void spanwire_tls_print_name(BIO *bio, X509_NAME *name) { X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253); }

// Calls back for each subject alternative name: of type GEN_DNS, GEN_URI or GEN_EMAIL as text, of type GEN_IPADD as 4 or 16 bytes.
static inline void spanwire_tls_names(
    X509 *certificate, void *context, void (*visit)(void *context, int type, const unsigned char *bytes, int length)) {
  GENERAL_NAMES *names = (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  for (int index = 0; index < sk_GENERAL_NAME_num(names); index++) {
    GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    if (name->type == GEN_DNS || name->type == GEN_URI || name->type == GEN_EMAIL || name->type == GEN_IPADD)
      visit(context, name->type, ASN1_STRING_get0_data(name->d.ia5), ASN1_STRING_length(name->d.ia5));
  }
  GENERAL_NAMES_free(names);
}
