/* What the tests of the rules share: one engine, one client, a clock that is a variable, and facts said in a line. */
#ifndef CONNLEAK_FINDING_FIXTURE_H
#define CONNLEAK_FINDING_FIXTURE_H

#include "core/finding.h"
#include "tap.h"

static struct findings *f;
static int64_t now;
static enum side side;
static const char *agent, *host;
static uint64_t size; /* of a response, head and body */
static uint16_t status;

static inline void begin(enum side of, const char *user_agent) {
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;
    conf.forward = false;
    f = findings_new(&conf);
    now = SEC(1000);
    side = of;
    agent = user_agent;
    host = "api.test";
    size = 300;
    status = 200;
}

static inline void end(void) {
    findings_free(&f);
}

static inline struct fact fact_of(conn_id id, enum fact_kind kind) {
    struct fact fact = {.at_ns = now, .conn = id, .side = (uint8_t)side, .kind = (uint8_t)kind};
    fact.peer.family = ADDR_V4;
    fact.peer.addr[0] = 10;
    fact.host = host;
    fact.user_agent = agent;
    fact.method = "GET";
    return fact;
}

static inline void say(struct fact fact) {
    findings_fact(f, &fact);
}

static inline void opened(conn_id id) {
    say(fact_of(id, FACT_OPENED));
}

static inline void request(conn_id id, uint8_t flags) {
    struct fact fact = fact_of(id, FACT_REQUEST);
    fact.flags = flags;
    say(fact);
}

static inline void response(conn_id id, uint8_t flags) {
    struct fact fact = fact_of(id, FACT_RESPONSE);
    fact.status = status;
    fact.framing = FRAMING_LENGTH;
    fact.bytes = size - 100;
    fact.flags = flags;
    say(fact);
}

static inline void done(conn_id id) {
    struct fact fact = fact_of(id, FACT_DONE);
    fact.bytes = size;
    say(fact);
}

/* Three connections, a second apart, of whose large bodies nothing goes out any more. */
static inline void three_stall(void) {
    size = 5 << 20;
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        say(fact_of(id, FACT_BLOCKED));
        findings_tick(f, now += SEC(1));
    }
}

/* A request and its whole response, in 10 ms. */
static inline void exchange(conn_id id) {
    request(id, 0);
    now += MSEC(8);
    response(id, 0);
    now += MSEC(2);
    done(id);
}

static inline struct fact_end an_end(void) {
    return (struct fact_end){.received_bytes = size,
                             .unread_bytes = UNKNOWN_BYTES,
                             .unread_if_read_4096 = size > 4096 ? size - 4096 : UNKNOWN_BYTES,
                             .body_announced = size - 100,
                             .body_read = size - 100,
                             .requests = 1,
                             .tls_sent = UINT32_MAX,
                             .counts_known = true,
                             .stood = true,
                             .by = BY_LOCAL,
                             .how = HOW_FIN,
                             .framing = FRAMING_LENGTH,
                             .phase = PHASE_IDLE,
                             .early = FACT_EARLY_FIN_AFTER};
}

static inline void ending(conn_id id, const struct fact_end *e) {
    struct fact fact = fact_of(id, FACT_ENDING);
    fact.by = e->by;
    fact.how = e->how;
    fact.bytes = e->received_bytes;
    say(fact);
}

static inline void closed(conn_id id, const struct fact_end *e) {
    struct fact fact = fact_of(id, FACT_CLOSED);
    fact.end = e;
    say(fact);
}

static inline void ended(conn_id id, const struct fact_end *e) {
    ending(id, e);
    closed(id, e);
}

static inline void fin(conn_id id) {
    struct fact_end e = an_end();
    ended(id, &e);
}

static inline void rst_in_body(conn_id id, uint64_t rest) {
    struct fact_end e = an_end();
    e.how = HOW_RST;
    e.local_rst = true;
    e.early = FACT_EARLY_IN_BODY;
    e.rst = e.rst_likely = FACT_RST_UNREAD;
    e.phase = PHASE_IN_BODY;
    e.body_read = e.body_announced > rest ? e.body_announced - rest : 0;
    ended(id, &e);
}

static inline void wait_for(int64_t ns) {
    for (int64_t until = now + ns; now < until;) {
        now = now + SEC(1) < until ? now + SEC(1) : until;
        findings_tick(f, now);
    }
}

static inline const struct finding *found(enum finding_kind kind) {
    const struct finding *fi;
    for (size_t i = 0; (fi = findings_get(f, i)); i++)
        if (fi->kind == kind) return fi;
    return NULL;
}

static inline unsigned n_found(void) {
    unsigned n = 0;
    while (findings_get(f, n)) n++;
    return n;
}

static inline void nothing(void) {
    const struct finding *fi = findings_get(f, 0);
    CHECK(!fi);
    if (fi) printf("# found %s\n", finding_name((enum finding_kind)fi->kind));
}

#endif
