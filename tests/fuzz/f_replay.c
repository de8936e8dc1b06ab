/* What is to be replayed. The input is a workload (it begins with a brace), or what the ends of up to
 * four connections say in turns, three bytes and what follows them:
 *
 *     0x80 the server's, 0x60 connection, 0x18 data, end, hole or pause, 0x07 which end or how long;
 *     then a length of two bytes, and so many bytes of data.
 *
 * What must hold, whatever is said: the plan's tables refer to each other as client.c and stub.c
 * rely on, within its limits; and under a virtual clock, at each speed, every step is let go
 * once, in order, and the replay ends. */
#include "replay/from_workload.h"
#include "replay/schedule.h"
#include "workload_lines.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

/* ---- plans from segments ---- */

#define N_TALKS 4
struct talk {
    struct wire *w;
    int64_t now_ns;
    uint64_t packets;
    uint32_t seq[N_TALKS][2];
    bool open[N_TALKS];
};

static void say(struct talk *t, unsigned conn, int from, uint8_t flags, const uint8_t *data, uint32_t len,
                uint32_t captured) {
    struct wire_segment s = {.at_ns = t->now_ns,
                             .packet = ++t->packets,
                             .flags = flags,
                             .payload = data,
                             .captured = captured,
                             .len = len,
                             .seq = t->seq[conn][from],
                             .ack = t->seq[conn][!from],
                             .window = 65535,
                             .window_scale = WIRE_NO_SCALE,
                             .ident = (uint32_t)t->packets << 16};
    s.src.family = s.dst.family = ADDR_V4;
    s.src.port = from ? 80 : (uint16_t)(4000 + conn);
    s.dst.port = from ? (uint16_t)(4000 + conn) : 80;
    wire_feed(t->w, &s);
    t->seq[conn][from] += len + ((flags & (TCP_SYN | TCP_FIN)) != 0);
    t->now_ns += USEC(10);
}

static void say_piece(struct talk *t, uint8_t what, uint32_t n, const uint8_t *data, uint32_t have) {
    static const uint8_t ends[8] = {TCP_FIN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK, TCP_FIN | TCP_PSH | TCP_ACK,
                                    TCP_SYN,           TCP_ACK, TCP_SYN | TCP_ACK, TCP_FIN};
    unsigned conn = what >> 5 & 3;
    int from = what >> 7;

    if (!t->open[conn]) {
        t->open[conn] = true;
        t->seq[conn][1] = 0xffffff00u;
        say(t, conn, 0, TCP_SYN, NULL, 0, 0);
        say(t, conn, 1, TCP_SYN | TCP_ACK, NULL, 0, 0);
        say(t, conn, 0, TCP_ACK, NULL, 0, 0);
    }
    switch (what >> 3 & 3) {
    case 0:
        if (n) say(t, conn, from, TCP_ACK | TCP_PSH, data, n, have);
        if (what & 1) say(t, conn, !from, TCP_ACK, NULL, 0, 0);
        break;
    case 1:
        say(t, conn, from, ends[what & 7], NULL, 0, 0);
        break;
    case 2: /* it passed, and the capture lacks it */
        t->seq[conn][from] += n << (what & 7) * 2;
        break;
    default:
        t->now_ns += (int64_t)n << (what & 7) * 4;
        break;
    }
}

static void plan_of_talk(struct plan *p, const uint8_t *data, size_t len) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct talk t = {.now_ns = 1};
    struct wire_record *r;

    limits.transcript_bytes = 8192;
    t.w = wire_new(&limits);
    while (len >= 3) {
        uint8_t what = data[0];
        uint32_t n = (uint32_t)data[1] << 8 | data[2], have;
        data += 3;
        len -= 3;
        have = what >> 3 & 3 ? 0 : n < len ? n : (uint32_t)len;
        say_piece(&t, what, n, data, have);
        data += have;
        len -= have;
    }
    wire_finish(t.w);
    while ((r = wire_next(t.w))) plan_add(p, r);
    wire_free(&t.w);
}

/* ---- plans from workloads ---- */

static struct workload *read_workload(const char *text, size_t len) {
    const struct workload_limits limits = {.exchanges = 500, .conns = 200, .origins = 100, .text_bytes = 64u << 10};
    struct workload_reader *r = workload_reader_new(&limits);
    struct workload *w = read_workload_lines(r, text, len);

    workload_reader_free(&r);
    return w;
}

static void plan_of_workload(struct plan *p, const uint8_t *data, size_t len) {
    struct workload *w = read_workload((const char *)data, len);
    struct witness seen;

    if (!w) return;
    witness_begin(&seen, 1u << 20);
    from_workload_add(p, &seen, w);
    MUST(p->n_conns <= w->n_conns);
    witness_free(&seen);
    workload_free(&w);
}

/* ---- what must hold of a plan ---- */

static void check_exchange(const struct plan *p, const struct plan_exchange *x) {
    uint64_t off = 0;

    MUST(x->origin < p->n_origins && x->request_off <= x->head_end && x->head_end <= x->request_end);
    MUST(x->request_end - x->request_off <= PLAN_REQUEST_MAX);
    MUST(x->target_len > 0 && x->target_at + x->target_len <= x->head_end - x->request_off);
    for (uint32_t i = 0; i < x->n_parts; i++) { /* without a gap, from the answer's first byte */
        MUST(x->parts[i].off == off && x->parts[i].len > 0);
        off += x->parts[i].len;
    }
    MUST(off == x->response_len && x->head_len <= x->response_len);
    if (x->n_parts == 0) return;
    MUST(x->done_len == NO_LEN || (x->done_len <= x->response_len && x->done_len >= x->head_len));
    MUST(x->until_client_ends == NO_LEN || x->until_client_ends <= x->response_len);
}

static void check_step(const struct plan *p, const struct plan_conn *c, const struct plan_step *s) {
    const struct plan_exchange *x = p->n_exchanges ? &p->exchanges[s->exchange] : NULL;
    bool of_exchange = s->kind != STEP_OPEN && s->kind != STEP_FIN && s->kind != STEP_RESET;

    MUST(s->at_ns >= p->begin_ns && s->at_ns <= p->end_ns);
    if (!of_exchange || (s->kind == STEP_ORIGIN_END && c->n_exchanges == 0)) return;
    MUST(s->exchange >= c->first_exchange && s->exchange < c->first_exchange + c->n_exchanges);
    if (s->kind == STEP_SEND) MUST(s->n > 0 && s->n <= x->request_end - x->request_off);
    if (s->kind == STEP_TAIL) MUST(s->n > x->done_len && s->n <= x->response_len);
    if (s->kind == STEP_DONE) MUST(x->n_parts > 0 && s->n <= x->response_len);
}

static void check_plan(const struct plan *p) {
    uint64_t requests = 0;
    uint32_t n = 0, gaps = 0;

    MUST(p->n_origins <= PLAN_ORIGINS_MAX && p->begin_ns >= 0 && p->begin_ns <= p->end_ns);
    for (uint32_t i = 0; i < p->n_conns; i++) {
        const struct plan_conn *c = &p->conns[i];
        MUST(c->record && c->gap < N_PLAN_GAPS);
        if (!c->played) continue;
        MUST(c->n_steps > 0 && p->steps[c->first_step].kind == STEP_OPEN);
        for (uint32_t k = 0; k < c->n_exchanges; k++) {
            const struct plan_exchange *x = &p->exchanges[c->first_exchange + k];
            MUST(x->conn == i);
            check_exchange(p, x);
            requests += x->request_end - x->request_off;
        }
        for (uint32_t j = 0; j < c->n_steps; j++) {
            check_step(p, c, &p->steps[c->first_step + j]);
            MUST(j == 0 || p->steps[c->first_step + j - 1].at_ns <= p->steps[c->first_step + j].at_ns);
        }
        n += c->n_steps;
    }
    for (unsigned g = 0; g < N_PLAN_GAPS; g++) gaps += p->by_gap[g];
    MUST(n == p->n_steps && gaps == p->n_conns);
    MUST(requests <= PLAN_REQUEST_ALL_MAX && p->filled_in <= PLAN_FILL_ALL_MAX);
}

/* The requests as they are sent: what was captured, but for the target. */
static void check_requests(struct plan *p) {
    const char **authority = calloc(p->n_origins + (size_t)1, sizeof *authority);

    MUST(authority);
    for (uint32_t i = 0; i < p->n_origins; i++) {
        MUST(strlen(p->origins[i].authority) <= PLAN_AUTHORITY_MAX);
        authority[i] = i % 2 ? "127.0.0.1:65535" : p->origins[i].authority;
    }
    plan_address(p, authority);
    for (uint32_t i = 0; i < p->n_conns; i++)
        for (uint32_t k = 0; p->conns[i].played && k < p->conns[i].n_exchanges; k++) {
            const struct plan_exchange *x = &p->exchanges[p->conns[i].first_exchange + k];
            uint64_t len = x->request_end - x->request_off, last = 0;
            MUST(plan_sent_len(x, 0) == 0 && plan_sent_len(x, len) == x->request_len);
            for (uint64_t at = 0; at <= len; at += len / 16 + 1) {
                MUST(plan_sent_len(x, at) >= last && plan_sent_len(x, at) <= x->request_len);
                last = plan_sent_len(x, at);
            }
            MUST(!memcmp(x->request, x->head, x->target_at) && x->request[x->target_at] == 'h');
        }
    free(authority);
}

/* ---- under a virtual clock ---- */

/* Some steps are done at once; others take their time, and are done when somebody looks again. */
static void play(const struct plan *p, double speed, unsigned slow) {
    struct schedule s;
    int64_t now = SEC(5), wait, captured = p->begin_ns;
    uint32_t step, n = 0, waiting = 0, turns = 0;

    schedule_begin(&s, p, speed, now);
    while (!schedule_is_over(&s)) {
        schedule_enter(&s, now);
        MUST(s.at_ns >= captured && s.at_ns <= p->end_ns);
        captured = s.at_ns;
        while (schedule_next(&s, &step)) {
            MUST(n < p->n_steps && step == p->order[n++] && p->steps[step].at_ns <= s.at_ns);
            if (slow && n % slow == 0)
                waiting++;
            else
                schedule_done(&s);
            MUST(speed > 0 || waiting <= 1);
        }
        wait = schedule_wait_ns(&s);
        if (waiting) {
            now += wait < MSEC(1) ? wait : MSEC(1);
            schedule_enter(&s, now);
            schedule_done(&s);
            waiting--;
        } else {
            MUST(wait != NEVER || schedule_is_over(&s));
            now += wait == NEVER ? 0 : wait + 1;
        }
        MUST(turns++ < 4 * p->n_steps + 100000);
    }
    MUST(n == p->n_steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct plan p = {0};

    if (len && *data == '{')
        plan_of_workload(&p, data, len);
    else
        plan_of_talk(&p, data, len);
    plan_finish(&p, len % 8 == 7);
    check_plan(&p);
    check_requests(&p);
    play(&p, 0, 3);
    play(&p, 1e6, 0);
    play(&p, 1e6, 2);
    plan_clear(&p);
    return 0;
}
