#include "whatif_row.h"

#include <stdlib.h>

void time_wait_add(struct time_wait *t, int64_t now) {
    while (t->n && now - t->since[t->first] >= TIME_WAIT_NS) {
        t->first = (t->first + 1) % t->room;
        t->n--;
    }
    if (t->n == t->room) {
        uint64_t room = t->room ? t->room * 2 : 64;
        int64_t *since = malloc(room * sizeof *since);
        if (!since) abort();
        for (uint64_t i = 0; i < t->n; i++) since[i] = t->since[(t->first + i) % t->room];
        free(t->since);
        t->since = since;
        t->first = 0;
        t->room = room;
    }
    t->since[(t->first + t->n++) % t->room] = now;
    if (t->n > t->peak) t->peak = t->n;
}

void time_wait_free(struct time_wait *t) {
    free(t->since);
    *t = (struct time_wait){0};
}

bool reason_is_local(enum close_reason why) {
    switch (why) {
    case REASON_RESPONSE_CLOSE:
    case REASON_REQUEST_CLOSE: /* a server that is asked to close does so behind its answer */
    case REASON_UNTIL_EOF:
    case REASON_SERVER_CLOSED:
    case REASON_SERVER_CLOSED_IDLE:
    case REASON_UNSOLICITED_RESPONSE:
        return false;
    default:
        return true;
    }
}
