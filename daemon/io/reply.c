#include "reply.h"

#include "record/json_out.h"

#include <stdio.h>
#include <time.h>

static const struct {
    unsigned status;
    const char *reason, *proxy_error, *title;
} replies[N_REPLIES] = {
    [REPLY_BAD_REQUEST] = {400, "Bad Request", "http_request_error", "The request is malformed"},
    [REPLY_DENIED_CLIENT] = {403, "Forbidden", "http_request_denied", "This client may not use the proxy"},
    [REPLY_DENIED_DESTINATION] = {403, "Forbidden", "destination_ip_prohibited", "This destination may not be reached"},
    [REPLY_AUTH_REQUIRED] = {407, "Proxy Authentication Required", "http_request_denied",
                             "User and password are needed"},
    [REPLY_HEAD_TIMEOUT] = {408, "Request Timeout", "http_request_error", "The request head took too long"},
    [REPLY_HEAD_TOO_LARGE] = {431, "Request Header Fields Too Large", "http_request_error",
                              "The request head is too large"},
    [REPLY_TRACE] = {501, "Not Implemented", "http_request_error", "The proxy does not answer TRACE itself"},
    [REPLY_DNS_ERROR] = {502, "Bad Gateway", "dns_error", "The origin's name could not be resolved"},
    [REPLY_DNS_TIMEOUT] = {504, "Gateway Timeout", "dns_timeout", "No name server answered in time"},
    [REPLY_REFUSED] = {502, "Bad Gateway", "connection_refused", "The origin refused the connection"},
    [REPLY_UNREACHABLE] = {502, "Bad Gateway", "destination_ip_unroutable", "The origin cannot be reached"},
    [REPLY_DIAL_TIMEOUT] = {504, "Gateway Timeout", "connection_timeout",
                            "The origin did not accept a connection in time"},
    [REPLY_TLS_CERTIFICATE] = {502, "Bad Gateway", "tls_certificate_error", "The origin's certificate was refused"},
    [REPLY_TLS_ALERT] = {502, "Bad Gateway", "tls_alert_received", "The origin refused the TLS handshake"},
    [REPLY_TLS_ERROR] = {502, "Bad Gateway", "tls_protocol_error", "The TLS handshake with the origin failed"},
    [REPLY_TLS_TIMEOUT] = {504, "Gateway Timeout", "connection_timeout",
                           "The TLS handshake with the origin took too long"},
    [REPLY_TERMINATED] = {502, "Bad Gateway", "connection_terminated",
                          "The origin closed the connection before it answered"},
    [REPLY_MALFORMED] = {502, "Bad Gateway", "http_protocol_error", "The origin's answer is not valid HTTP/1"},
    [REPLY_RESPONSE_HEAD_TOO_LARGE] = {502, "Bad Gateway", "http_response_header_section_size",
                                       "The origin's response head is too large"},
    [REPLY_UPGRADE_FAILED] = {502, "Bad Gateway", "http_upgrade_failed",
                              "The origin switched to another protocol than was asked for"},
    [REPLY_RESPONSE_TIMEOUT] = {504, "Gateway Timeout", "http_response_timeout", "The origin did not answer in time"},
    [REPLY_WRITE_ERROR] = {502, "Bad Gateway", "connection_write_error", "The request could not be sent to the origin"},
    [REPLY_CLIENT_GONE] = {502, "Bad Gateway", "http_request_error",
                           "The client closed its side before the answer came"},
    [REPLY_LIMIT] = {503, "Service Unavailable", "connection_limit_reached", "The proxy is at its limit"},
    [REPLY_INTERNAL] = {503, "Service Unavailable", "proxy_internal_error", "The proxy cannot take new work"},
    [REPLY_LOOP] = {508, "Loop Detected", "proxy_loop_detected", "The request leads back to this proxy"},
};

unsigned reply_status(enum reply_kind k) {
    return replies[k].status;
}

static void put_text(struct json_out *o, const char *s) {
    jo_put(o, s, strlen(s));
}

static void put_u64(struct json_out *o, uint64_t n) {
    char buf[JSON_U64_MAX];
    jo_put(o, buf, text_u64(buf, n));
}

static void body_write(struct json_out *b, enum reply_kind k, const char *detail) {
    jo_object(b);
    JO_KEY(b, "type");
    jo_str(b, "about:blank");
    JO_KEY(b, "title");
    jo_str(b, replies[k].title);
    JO_KEY(b, "status");
    jo_u64(b, replies[k].status);
    if (detail) {
        JO_KEY(b, "detail");
        jo_str(b, detail);
    }
    JO_KEY(b, "proxy_error");
    jo_str(b, replies[k].proxy_error);
    jo_object_end(b);
    jo_line(b);
}

/* The detail as a quoted string of a structured field: printable ASCII only. */
static void put_sf_string(struct json_out *o, const char *s) {
    JO_PUT(o, "\"");
    for (; *s; s++) {
        char c = *s < 0x20 || *s > 0x7e ? '?' : *s;
        if (c == '"' || c == '\\') JO_PUT(o, "\\");
        jo_put(o, &c, 1);
    }
    JO_PUT(o, "\"");
}

void reply_write(struct json_out *o, enum reply_kind k, const char *detail, const char *name, const char *date,
                 bool close, bool head_only) {
    struct json_out body = {0};
    body_write(&body, k, detail);
    JO_PUT(o, "HTTP/1.1 ");
    put_u64(o, replies[k].status);
    JO_PUT(o, " ");
    put_text(o, replies[k].reason);
    JO_PUT(o, "\r\nDate: ");
    put_text(o, date);
    JO_PUT(o, "\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\nProxy-Status: ");
    put_text(o, name);
    JO_PUT(o, "; error=");
    put_text(o, replies[k].proxy_error);
    if (detail) {
        JO_PUT(o, "; details=");
        put_sf_string(o, detail);
    }
    if (k == REPLY_AUTH_REQUIRED) JO_PUT(o, "\r\nProxy-Authenticate: Basic realm=\"connleakd\", charset=\"UTF-8\"");
    if (k == REPLY_LIMIT || k == REPLY_INTERNAL) JO_PUT(o, "\r\nRetry-After: 1");
    JO_PUT(o, "\r\nContent-Length: ");
    put_u64(o, body.len);
    if (close) JO_PUT(o, "\r\nConnection: close");
    JO_PUT(o, "\r\n\r\n");
    if (!head_only) jo_put(o, body.data, body.len);
    json_out_free(&body);
}

void reply_connected(struct json_out *o, const char *name) {
    JO_PUT(o, "HTTP/1.1 200 Connection established\r\nVia: 1.1 ");
    put_text(o, name);
    JO_PUT(o, "\r\n\r\n");
}

void reply_options(struct json_out *o, const char *date, bool close) {
    JO_PUT(o, "HTTP/1.1 200 OK\r\nDate: ");
    put_text(o, date);
    JO_PUT(o, "\r\nContent-Length: 0\r\n");
    if (close) JO_PUT(o, "Connection: close\r\n");
    JO_PUT(o, "\r\n");
}

const char *reply_date(wall_ns now) {
    static char text[DATE_LEN + 1];
    static time_t made = -1;
    time_t t = (time_t)(now / SEC(1));
    if (t != made) {
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm); /* the C locale's names: we never set another */
        made = t;
    }
    return text;
}
