/* A connection in Zeek's words: history, a letter for each kind of thing in order
 * of its first time (capitals: the client), and conn_state. */
#include "wire/conn.h"

#include <string.h>

void history_put(struct conn *c, unsigned from, char letter) {
    if (c->n_history + 1u < sizeof c->history) {
        /* Who is the client may turn out later: who sent it is kept as the high bit. */
        c->history[c->n_history++] = (char)(letter | (from ? 0x80 : 0));
    }
}

void history_count(struct conn *c, unsigned from, char letter, uint64_t count) {
    uint64_t at = 1;

    while (at < count) at *= 10;
    if (at == count) history_put(c, from, letter);
}

static void packet_letters(struct conn *c, unsigned from, const struct wire_segment *s) {
    if (s->flags & TCP_SYN) history_add(c, from, s->flags & TCP_ACK ? 'H' : 'S');
    if (!(s->flags & (TCP_SYN | TCP_FIN | TCP_RST)) && s->len == 0) history_add(c, from, 'A');
}

static void move_ends(struct conn *c, unsigned from, const struct wire_segment *s) {
    struct dir *d = &c->dir[from], *o = &c->dir[!from];

    if (s->flags & TCP_SYN) {
        if (d->zeek <= ZEEK_PARTIAL) d->zeek = s->flags & TCP_ACK ? ZEEK_SYN_ACK_SENT : ZEEK_SYN_SENT;
        if (s->flags & TCP_ACK && o->zeek == ZEEK_SYN_SENT) d->zeek = o->zeek = ZEEK_ESTABLISHED;
        return;
    }
    if (d->zeek == ZEEK_INACTIVE) d->zeek = o->zeek == ZEEK_SYN_ACK_SENT ? ZEEK_ESTABLISHED : ZEEK_PARTIAL;
    if (s->flags & TCP_ACK && o->zeek == ZEEK_SYN_ACK_SENT) d->zeek = o->zeek = ZEEK_ESTABLISHED;
}

/* Called before payload, FIN and RST of the segment are looked at. */
void zeek_segment(struct conn *c, unsigned from, const struct wire_segment *s) {
    packet_letters(c, from, s);
    move_ends(c, from, s);
}

static enum zeek_end end_state(const struct dir *d) {
    if (d->rst_packet) return ZEEK_RESET;
    if (d->fin_packet) return ZEEK_CLOSED;
    return (enum zeek_end)d->zeek;
}

/* The ladder of Zeek's base/protocols/conn: o is the client, r the server. */
const char *zeek_conn_state(const struct conn *c) {
    const struct dir *od = &c->dir[c->client], *rd = &c->dir[!c->client];
    enum zeek_end o = end_state(od), r = end_state(rd);
    bool o_inactive = o <= ZEEK_PARTIAL, r_inactive = r <= ZEEK_PARTIAL;

    if (r == ZEEK_RESET) {
        if (o == ZEEK_SYN_SENT || o == ZEEK_SYN_ACK_SENT || (o == ZEEK_RESET && od->max_end == 0 && rd->max_end == 0))
            return "REJ";
        return o_inactive ? "RSTRH" : "RSTR";
    }
    if (o == ZEEK_RESET) return r_inactive ? "RSTOS0" : "RSTO";
    if (r == ZEEK_CLOSED && o == ZEEK_CLOSED) return "SF";
    if (o == ZEEK_CLOSED) return r_inactive ? "SH" : "S2";
    if (r == ZEEK_CLOSED) return o_inactive ? "SHR" : "S3";
    if (o == ZEEK_SYN_SENT && r == ZEEK_INACTIVE) return "S0";
    if (o == ZEEK_ESTABLISHED && r == ZEEK_ESTABLISHED) return "S1";
    return "OTH";
}
