#include "trace/format.h"

#include <event-parse.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reasons that a kernel may name: 26 in Linux 6.18. */
#define REASONS_MAX 256

struct reason {
    uint64_t number;
    char *name;
};

/* Fields of one tracepoint; NULL: it has no such field. */
struct layout {
    struct tep_event *event; /* NULL: the kernel does not have it */
    struct tep_format_field *sk, *sport, *dport, *saddr, *daddr, *saddr_v6, *daddr_v6;
    struct tep_format_field *state, *old_state, *new_state, *protocol, *reason;
};

struct trace_format {
    struct tep_handle *tep;
    struct layout send, receive, state;
    struct reason *reasons;
    size_t n_reasons;
};

/* ---- what the kernel says of its formats ---- */

static bool missing(char error[TRACE_TEXT], const char *system, const char *event, const char *what) {
    snprintf(error, TRACE_TEXT, "tracepoint %s:%s%s%s", system, event, *what ? " has no field " : " is missing", what);
    return false;
}

/* Addresses come as two struct sockaddr_in6 (Linux 6.10), or as ports with both
 * kinds of address, of which the IPv6 ones have IPv4 mapped into them. */
#define SOCKADDR_SIZE ((int)sizeof(struct sockaddr_in6))
static bool has_sockaddrs(const struct layout *l) {
    return l->saddr && l->saddr->size == SOCKADDR_SIZE && l->daddr && l->daddr->size == SOCKADDR_SIZE;
}

static bool has_addresses(const struct layout *l) {
    return has_sockaddrs(l) ||
           (l->sport && l->dport && l->saddr_v6 && l->saddr_v6->size == 16 && l->daddr_v6 && l->daddr_v6->size == 16);
}

static bool find_layout(struct layout *l, struct tep_handle *tep, const char *system, const char *name,
                        char error[TRACE_TEXT]) {
    struct tep_event *e = tep_find_event_by_name(tep, system, name);

    if (!e) return missing(error, system, name, "");
    *l = (struct layout){.event = e,
                         .sk = tep_find_field(e, "skaddr"),
                         .sport = tep_find_field(e, "sport"),
                         .dport = tep_find_field(e, "dport"),
                         .saddr = tep_find_field(e, "saddr"),
                         .daddr = tep_find_field(e, "daddr"),
                         .saddr_v6 = tep_find_field(e, "saddr_v6"),
                         .daddr_v6 = tep_find_field(e, "daddr_v6"),
                         .state = tep_find_field(e, "state"),
                         .old_state = tep_find_field(e, "oldstate"),
                         .new_state = tep_find_field(e, "newstate"),
                         .protocol = tep_find_field(e, "protocol"),
                         .reason = tep_find_field(e, "reason")};
    if (!has_addresses(l)) return missing(error, system, name, "for the addresses");
    return l->sk || missing(error, system, name, "skaddr");
}

/* The field that __print_symbolic prints, through casts. */
static bool prints_field(const struct tep_print_arg *arg, const char *name) {
    while (arg && arg->type == TEP_PRINT_TYPE) arg = arg->typecast.item;
    return arg && arg->type == TEP_PRINT_FIELD && arg->field.name && !strcmp(arg->field.name, name);
}

/* The names that the tracepoint's own print format gives to the numbers of `reason`. */
static void take_reasons(struct trace_format *f) {
    const struct tep_print_flag_sym *s = NULL;

    for (const struct tep_print_arg *a = f->send.event->print_fmt.args; a && !s; a = a->next)
        if (a->type == TEP_PRINT_SYMBOL && prints_field(a->symbol.field, "reason")) s = a->symbol.symbols;
    f->reasons = calloc(REASONS_MAX, sizeof *f->reasons);
    if (!f->reasons) abort();
    for (; s && f->n_reasons < REASONS_MAX; s = s->next) {
        char *end;
        uint64_t number = s->value ? strtoull(s->value, &end, 0) : 0;

        if (!s->value || end == s->value || *end || !s->str) continue; /* a name that the kernel did not resolve */
        f->reasons[f->n_reasons].number = number;
        f->reasons[f->n_reasons].name = strdup(s->str);
        if (!f->reasons[f->n_reasons++].name) abort();
    }
}

struct trace_format *trace_format_new(struct tep_handle *tep, char error[TRACE_TEXT]) {
    struct trace_format *f = calloc(1, sizeof *f);
    char none[TRACE_TEXT];

    if (!f) abort();
    f->tep = tep;
    if (!find_layout(&f->send, tep, "tcp", TRACE_SEND_EVENT, error) ||
        !find_layout(&f->state, tep, "sock", TRACE_STATE_EVENT, error))
        goto fail;
    if (!find_layout(&f->receive, tep, "tcp", TRACE_RECEIVE_EVENT, none)) f->receive.event = NULL;
    if (!f->state.old_state || !f->state.new_state) {
        missing(error, "sock", TRACE_STATE_EVENT, f->state.old_state ? "newstate" : "oldstate");
        goto fail;
    }
    take_reasons(f);
    return f;
fail:
    trace_format_free(&f);
    return NULL;
}

void trace_format_free(struct trace_format **fp) {
    struct trace_format *f = *fp;

    if (!f) return;
    *fp = NULL;
    for (size_t i = 0; i < f->n_reasons; i++) free(f->reasons[i].name);
    free(f->reasons);
    free(f);
}

bool trace_format_has_reason(const struct trace_format *f) {
    return f->send.reason && f->n_reasons;
}

bool trace_format_all_resets(const struct trace_format *f) {
    return has_sockaddrs(&f->send);
}

/* ---- a record ---- */

struct raw {
    const struct trace_format *f;
    const unsigned char *data;
    size_t size;
};

static const unsigned char *bytes_at(const struct raw *r, const struct tep_format_field *field) {
    if (!field || field->offset < 0 || field->size < 0) return NULL;
    if ((size_t)field->offset > r->size || (size_t)field->size > r->size - (size_t)field->offset) return NULL;
    return r->data + field->offset;
}

static uint64_t number_at(const struct raw *r, const struct tep_format_field *field) {
    const unsigned char *p = bytes_at(r, field);

    return p && field->size <= 8 ? tep_read_number(r->f->tep, p, field->size) : 0;
}

/* IPv4 stands in IPv6 as ::ffff:a.b.c.d: one connection must have one name at both ends. */
static void take_address(struct endpoint *e, const unsigned char v6[16]) {
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (!memcmp(v6, mapped, sizeof mapped)) {
        e->family = ADDR_V4;
        memcpy(e->addr, v6 + 12, 4);
    } else {
        e->family = ADDR_V6;
        memcpy(e->addr, v6, 16);
    }
}

static bool take_sockaddr(struct endpoint *e, const unsigned char *p) {
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    memcpy(&v6, p, sizeof v6);
    e->port = ntohs(v6.sin6_port);
    if (v6.sin6_family == AF_INET6) {
        take_address(e, v6.sin6_addr.s6_addr);
        return true;
    }
    if (v6.sin6_family != AF_INET) return false;
    memcpy(&v4, p, sizeof v4);
    e->family = ADDR_V4;
    memcpy(e->addr, &v4.sin_addr, 4);
    return true;
}

static bool take_flow(const struct raw *r, const struct layout *l, struct flow_key *flow) {
    const unsigned char *from, *to;

    if (has_sockaddrs(l)) {
        from = bytes_at(r, l->saddr);
        to = bytes_at(r, l->daddr);
        return from && to && take_sockaddr(&flow->local, from) && take_sockaddr(&flow->remote, to);
    }
    from = bytes_at(r, l->saddr_v6);
    to = bytes_at(r, l->daddr_v6);
    if (!from || !to) return false;
    take_address(&flow->local, from);
    take_address(&flow->remote, to);
    flow->local.port = (uint16_t)number_at(r, l->sport);
    flow->remote.port = (uint16_t)number_at(r, l->dport);
    return true;
}

static const char *reason_of(const struct raw *r) {
    uint64_t number;

    if (!bytes_at(r, r->f->send.reason)) return NULL;
    number = number_at(r, r->f->send.reason);
    for (size_t i = 0; i < r->f->n_reasons; i++)
        if (r->f->reasons[i].number == number) return r->f->reasons[i].name;
    return NULL;
}

static uint8_t state_at(const struct raw *r, const struct tep_format_field *field) {
    uint64_t state = number_at(r, field);

    return state < KERNEL_STATES ? (uint8_t)state : 0;
}

bool trace_format_read(const struct trace_format *f, void *data, size_t size, int64_t at_ns, struct trace_event *out) {
    struct raw r = {f, data, size};
    struct tep_record record = {.data = data, .size = (int)size};
    const struct layout *l;
    int id;

    if (size < 8 || size > INT32_MAX) return false;
    id = tep_data_type(f->tep, &record);
    *out = (struct trace_event){.at_ns = at_ns};
    if (id == f->state.event->id) {
        l = &f->state;
        out->kind = TRACE_SET_STATE;
        if (l->protocol && number_at(&r, l->protocol) != IPPROTO_TCP) return false;
        out->old_state = state_at(&r, l->old_state);
        out->new_state = state_at(&r, l->new_state);
    } else if (id == f->send.event->id) {
        l = &f->send;
        out->kind = TRACE_SEND_RESET;
        out->new_state = state_at(&r, l->state);
        out->reason = reason_of(&r);
    } else if (f->receive.event && id == f->receive.event->id) {
        l = &f->receive;
        out->kind = TRACE_RECEIVE_RESET;
    } else {
        return false;
    }
    if (!take_flow(&r, l, &out->flow)) return false;
    out->sk = number_at(&r, l->sk);
    if (!(tep_data_flags(f->tep, &record) & (TRACE_FLAG_HARDIRQ | TRACE_FLAG_SOFTIRQ)))
        out->pid = tep_data_pid(f->tep, &record);
    return true;
}
