/* What a request asks for: the target of its start line and its Host, taken apart
 * (RFC 9112 section 3.2) and turned into what a pool key needs. */
#ifndef CONNLEAK_DESTINATION_H
#define CONNLEAK_DESTINATION_H

#include "core/h1.h"

#define HOST_MAX 253

struct target {
    bool tls; /* https */
    uint16_t port;
    char host[HOST_MAX + 1];  /* without brackets, as written: R4 keeps case and dots */
    char addr[HOST_MAX + 10]; /* host:port, IPv6 in brackets */
    /* As written in the target or Host, for the Host that goes on; from the head's first byte. */
    struct h1_span authority;
    struct h1_span path; /* path and query; len 0: there is none, "/" or "*" goes on */
};

enum destination_error {
    TARGET_OK,
    TARGET_NO_HOST,  /* origin-form, and Host is missing or empty */
    TARGET_SCHEME,   /* neither http nor https */
    TARGET_USERINFO, /* user:password@ in the target (RFC 9110, 4.2.4) */
    TARGET_HOST,     /* not a host name or address */
    TARGET_PORT,     /* not a port, or none in a CONNECT */
    TARGET_FORM,     /* none of the four forms, or one that the method may not have */
};

/* `bytes` is where the head's spans count from. */
enum destination_error destination_parse(const struct h1_head *head, const uint8_t *bytes, struct target *out);
const char *destination_error_text(enum destination_error e);

/* For reverse mode: only the path is the request's. */
enum destination_error destination_parse_path(const struct h1_head *head, const uint8_t *bytes, struct target *out);

#endif
