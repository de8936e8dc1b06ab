#include "capture/filter.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_NODES 256 /* of an expression; deeper or longer ones are refused */
#define MAX_DEPTH 64

enum kind { NUMBER, FLAG, TEXT, ADDRESS };

/* A field's value of one record. */
struct value {
    bool known;
    double number; /* FLAG: 0 or 1 */
    const char *text;
    const struct endpoint *address;
};

static struct value number(double n, bool known) {
    return (struct value){.known = known, .number = n};
}
static struct value text(const char *t) {
    return (struct value){.known = t && *t, .text = t};
}

#define LIFE(bit, n) number((double)(n), r->life.known &(bit))

static int64_t end_of(const struct wire_record *r) {
    return r->life.closed_ns ? r->life.closed_ns : r->evidence.last_ns;
}

/* X(name, kind, value, text) */
#define FIELDS                                                                                                         \
    X(requests, NUMBER, LIFE(KNOW_REQUESTS, r->life.requests), "requests sent")                                        \
    X(responses, NUMBER, LIFE(KNOW_RESPONSES, r->life.responses), "final responses begun")                             \
    X(reused, NUMBER, LIFE(KNOW_REQUESTS, lifecycle_reused(&r->life)), "requests after the first")                     \
    X(early_closes, NUMBER, LIFE(KNOW_EARLY_CLOSES, r->life.early_closes), "bodies given up, where proven")            \
    X(bytes_in, NUMBER, LIFE(KNOW_BYTES_IN, r->life.bytes_in), "bytes that the client received")                       \
    X(bytes_out, NUMBER, LIFE(KNOW_BYTES_OUT, r->life.bytes_out), "bytes that the client sent")                        \
    X(unread_bytes, NUMBER, LIFE(KNOW_UNREAD, r->life.unread_bytes), "unread at close, where proven")                  \
    X(rst_sent, FLAG, LIFE(KNOW_RST_SENT, r->life.rst_sent), "the client sent RST")                                    \
    X(rst_received, FLAG, LIFE(KNOW_RST_RECEIVED, r->life.rst_received), "the server sent RST")                        \
    X(by, TEXT, text(r->life.known &KNOW_CLOSE ? close_by_name(r->life.close_by) : NULL), "local, remote or none")     \
    X(how, TEXT, text(r->life.known &KNOW_CLOSE ? close_how_name(r->life.close_how) : NULL), "fin, rst or none")       \
    X(state, TEXT, text(life_state_name(r->life.state)), "closed, idle, active, open, opaque, dialing")                \
    X(phase, TEXT, text(r->life.known &KNOW_PHASE ? close_phase_name(r->life.close_phase) : NULL), "of the close")     \
    X(duration_ms, NUMBER, LIFE(KNOW_OPENED, (double)(end_of(r) - r->life.opened_ns) / 1e6), "from SYN to close")      \
    X(idle_ms, NUMBER, LIFE(KNOW_IDLE, (double)lifecycle_idle_ns(&r->life, end_of(r)) / 1e6), "time between requests") \
    X(client, ADDRESS, ((struct value){true, 0, NULL, &r->life.flow.local}), "address, port or address:port")          \
    X(server, ADDRESS, ((struct value){true, 0, NULL, &r->life.flow.remote}), "the same")                              \
    X(host, TEXT, text(r->evidence.host), "the first request's Host")                                                  \
    X(user_agent, TEXT, text(r->evidence.user_agent), "the first request's User-Agent")                                \
    X(protocol, TEXT, text(wire_protocol_name(r->evidence.protocol)), "http/1, tls, http/2 or unknown")                \
    X(sni, TEXT, text(r->evidence.tls ? r->evidence.tls->sni : NULL), "the name in the TLS hello")                     \
    X(rst_cause, TEXT, text(rst_cause_name(r->evidence.rst_cause)), "unread_at_close, data_after_close, refused")      \
    X(early_close, TEXT, text(early_verdict_name(r->evidence.early)), "what is known of it: in_body, ...")             \
    X(conn_state, TEXT, text(r->evidence.conn_state), "Zeek's")                                                        \
    X(history, TEXT, text(r->evidence.history), "Zeek's")                                                              \
    X(retransmits, NUMBER, number((double)r->evidence.local.retransmits + r->evidence.remote.retransmits, true), "")   \
    X(gaps, NUMBER, number((double)r->evidence.local.gaps + r->evidence.remote.gaps, true), "holes in the capture")    \
    X(zero_windows, NUMBER, number((double)r->evidence.local.zero_windows, true), "times the client did not read")     \
    X(excess_bytes, NUMBER, number((double)r->evidence.excess_bytes, true), "bytes that nobody had asked for")         \
    X(packet, NUMBER, number((double)r->evidence.first_packet, true), "number of its first packet")                    \
    X(incomplete, FLAG, number((r->evidence.incomplete & ~(uint32_t)INCOMPLETE_CAPTURE_ENDED) != 0, true),             \
      "something is missing")

enum {
#define X(name, kind, value, text) FIELD_##name,
    FIELDS
#undef X
        N_FIELDS
};

static const struct {
    const char *name, *text;
    enum kind kind;
} fields[] = {
#define X(name, kind, value, text) {#name, text, kind},
    FIELDS
#undef X
};

static struct value field_value(unsigned field, const struct wire_record *r) {
    switch (field) {
#define X(name, kind, value, text)                                                                                     \
    case FIELD_##name:                                                                                                 \
        return value;
        FIELDS
#undef X
    default:
        return (struct value){0};
    }
}

const char *filter_field(size_t i, const char **what) {
    if (i >= N_FIELDS) return NULL;
    *what = fields[i].text;
    return fields[i].name;
}

/* ---- expressions ---- */

enum op { OP_AND, OP_OR, OP_NOT, OP_TRUE, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_HAS };

struct node {
    enum op op;
    unsigned a, b; /* nodes; b alone for none */
    unsigned field;
    bool null, any_port, any_address;
    double number;
    char word[128];
    struct endpoint address;
};

struct filter {
    struct node nodes[MAX_NODES];
    unsigned n, root;
};

struct parser {
    struct filter *f;
    const char *start, *at;
    char token[128]; /* "" at the end */
    const char *token_at;
    unsigned depth;
    char *error;
};

static bool complain(struct parser *p, const char *expected) {
    if (!p->error[0])
        snprintf(p->error, FILTER_TEXT, "--filter, character %d: %s%s%s, expected %s",
                 (int)(p->token_at - p->start) + 1, p->token[0] ? "\"" : "", p->token[0] ? p->token : "the end",
                 p->token[0] ? "\"" : "", expected);
    return false;
}

static void next(struct parser *p) {
    size_t n = 0;

    while (isspace((unsigned char)*p->at)) p->at++;
    p->token_at = p->at;
    if (strchr("()", *p->at) && *p->at) {
        n = 1;
    } else if (strchr("=!<>~", *p->at) && *p->at) {
        while (n < 2 && p->at[n] && strchr("=!<>~", p->at[n])) n++;
    } else if (*p->at == '"') {
        const char *end = strchr(p->at + 1, '"');
        n = end ? (size_t)(end - p->at) + 1 : strlen(p->at);
    } else {
        while (p->at[n] && !isspace((unsigned char)p->at[n]) && !strchr("()=!<>~", p->at[n])) n++;
    }
    if (n >= sizeof p->token) n = sizeof p->token - 1;
    memcpy(p->token, p->at, n);
    p->token[n] = 0;
    p->at += n;
}

static bool word(struct parser *p, const char *w) {
    if (strcasecmp(p->token, w)) return false;
    next(p);
    return true;
}

static bool new_node(struct parser *p, enum op op, unsigned *out) {
    if (p->f->n == MAX_NODES) return complain(p, "a shorter expression");
    *out = p->f->n++;
    memset(&p->f->nodes[*out], 0, sizeof p->f->nodes[*out]);
    p->f->nodes[*out].op = op;
    return true;
}

static bool parse_number(const char *t, double *out) {
    char *end;

    *out = strtod(t, &end);
    if (end == t || (*t != '-' && *t != '.' && !isdigit((unsigned char)*t))) return false;
    switch (tolower((unsigned char)*end)) {
    case 'k':
        *out *= 1024, end++;
        break;
    case 'm':
        *out *= 1024.0 * 1024, end++;
        break;
    case 'g':
        *out *= 1024.0 * 1024 * 1024, end++;
        break;
    default:
        break;
    }
    return *end == 0;
}

/* 10.0.0.1:80, 10.0.0.1, [::1]:80, ::1, or :80 and 80 for a port alone. */
static bool parse_address(const char *t, struct node *n) {
    char copy[160];
    const char *digits = *t == ':' && t[1] != ':' ? t + 1 : t;
    char *end;
    unsigned long port = strtoul(digits, &end, 10);

    if (isdigit((unsigned char)*digits) && *end == 0 && port <= 65535) {
        n->any_address = true;
        n->address.port = (uint16_t)port;
        return true;
    }
    if (endpoint_parse(t, &n->address)) return true;
    n->any_port = true;
    snprintf(copy, sizeof copy, strchr(t, ':') && *t != '[' ? "[%s]:0" : "%s:0", t);
    return endpoint_parse(copy, &n->address);
}

static bool parse_value(struct parser *p, struct node *n) {
    size_t len = strlen(p->token);

    if (!p->token[0]) return complain(p, "a value");
    if (!strcasecmp(p->token, "null")) {
        if (n->op != OP_EQ && n->op != OP_NE) return complain(p, "= or != before null");
        n->null = true;
    } else if (fields[n->field].kind == NUMBER) {
        if (!parse_number(p->token, &n->number)) return complain(p, "a number (k, m and g may follow)");
    } else if (fields[n->field].kind == FLAG) {
        if (strcasecmp(p->token, "true") && strcasecmp(p->token, "false")) return complain(p, "true or false");
        n->number = !strcasecmp(p->token, "true");
    } else if (fields[n->field].kind == ADDRESS) {
        if (!parse_address(p->token, n)) return complain(p, "an address, a port or address:port");
    } else if (p->token[0] == '"') {
        if (len < 2 || p->token[len - 1] != '"') return complain(p, "a closing quote");
        memcpy(n->word, p->token + 1, len - 2);
    } else {
        memcpy(n->word, p->token, len);
    }
    next(p);
    return true;
}

static bool parse_comparison(struct parser *p, unsigned *out) {
    static const struct {
        const char *text;
        enum op op;
    } ops[] = {{"=", OP_EQ},  {"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT},
               {"<=", OP_LE}, {">", OP_GT},  {">=", OP_GE}, {"~", OP_HAS}};
    unsigned field = 0;
    enum kind kind;

    while (field < N_FIELDS && strcasecmp(p->token, fields[field].name)) field++;
    if (field == N_FIELDS) return complain(p, "the name of a field (connleak analyze --help lists them), not or (");
    if (!new_node(p, OP_TRUE, out)) return false;
    p->f->nodes[*out].field = field;
    kind = fields[field].kind;
    next(p);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(p->token, ops[i].text)) continue;
        if (kind != NUMBER && ops[i].op >= OP_LT && ops[i].op <= OP_GE)
            return complain(p, "=, != or ~: this field has no order");
        if (kind != TEXT && ops[i].op == OP_HAS) return complain(p, "another comparison: ~ is for texts");
        p->f->nodes[*out].op = ops[i].op;
        next(p);
        return parse_value(p, &p->f->nodes[*out]);
    }
    return true; /* the field alone: known, and not 0, false or empty */
}

static bool parse_or(struct parser *p, unsigned *out);

static bool parse_not(struct parser *p, unsigned *out) {
    bool ok;

    if (++p->depth > MAX_DEPTH) return complain(p, "fewer parentheses");
    if (word(p, "not") || word(p, "!")) {
        unsigned inner = 0, me = 0;
        ok = new_node(p, OP_NOT, &me) && parse_not(p, &inner);
        if (ok) p->f->nodes[me].a = inner, *out = me;
    } else if (word(p, "(")) {
        ok = parse_or(p, out);
        if (ok && !word(p, ")")) ok = complain(p, ")");
    } else {
        ok = parse_comparison(p, out);
    }
    p->depth--;
    return ok;
}

static bool parse_chain(struct parser *p, unsigned *out, enum op op, const char *name,
                        bool (*inner)(struct parser *, unsigned *)) {
    if (!inner(p, out)) return false;
    while (word(p, name)) {
        unsigned right = 0, both = 0;
        if (!new_node(p, op, &both) || !inner(p, &right)) return false;
        p->f->nodes[both].a = *out;
        p->f->nodes[both].b = right;
        *out = both;
    }
    return true;
}

static bool parse_and(struct parser *p, unsigned *out) {
    return parse_chain(p, out, OP_AND, "and", parse_not);
}
static bool parse_or(struct parser *p, unsigned *out) {
    return parse_chain(p, out, OP_OR, "or", parse_and);
}

struct filter *filter_new(const char *source, char error[FILTER_TEXT]) {
    struct filter *f = calloc(1, sizeof *f);
    struct parser p = {.f = f, .start = source, .at = source, .error = error};

    if (!f) abort();
    error[0] = 0;
    next(&p);
    if (parse_or(&p, &f->root) && !p.token[0]) return f;
    complain(&p, "and, or, or the end");
    filter_free(&f);
    return NULL;
}

void filter_free(struct filter **fp) {
    free(*fp);
    *fp = NULL;
}

/* ---- matching ---- */

static bool same_address(const struct node *n, const struct endpoint *e) {
    if (!n->any_port && n->address.port != e->port) return false;
    return n->any_address || (n->address.family == e->family && !memcmp(n->address.addr, e->addr, sizeof e->addr));
}

static bool contains(const char *in, const char *what) {
    size_t len = strlen(what);

    for (; *in; in++)
        if (!strncasecmp(in, what, len)) return true;
    return len == 0;
}

static bool compare(const struct node *n, const struct wire_record *r) {
    struct value v = field_value(n->field, r);
    bool equal;

    if (n->null) return v.known == (n->op == OP_NE);
    if (!v.known) return false;
    switch (n->op) {
    case OP_LT:
        return v.number < n->number;
    case OP_LE:
        return v.number <= n->number;
    case OP_GT:
        return v.number > n->number;
    case OP_GE:
        return v.number >= n->number;
    case OP_HAS:
        return v.text && contains(v.text, n->word);
    case OP_TRUE:
        return v.text || v.address || v.number != 0;
    default:
        break;
    }
    equal = v.address ? same_address(n, v.address)
            : v.text  ? !strcasecmp(v.text, n->word)
                      : v.number >= n->number && v.number <= n->number;
    return equal == (n->op == OP_EQ);
}

static bool holds(const struct filter *f, unsigned at, const struct wire_record *r) {
    const struct node *n = &f->nodes[at];

    switch (n->op) {
    case OP_AND:
        return holds(f, n->a, r) && holds(f, n->b, r);
    case OP_OR:
        return holds(f, n->a, r) || holds(f, n->b, r);
    case OP_NOT:
        return !holds(f, n->a, r);
    default:
        return compare(n, r);
    }
}

bool filter_matches(const struct filter *f, const struct wire_record *r) {
    return holds(f, f->root, r);
}
