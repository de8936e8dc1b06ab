#include "schedule.h"

#define A_DAY_NS SEC(86400)

static bool in_order(const struct schedule *s) {
    return s->speed == 0;
}

/* Something that should have happened by now has not, and perhaps soon will. */
static bool is_late(const struct schedule *s) {
    return s->unfinished > s->given_up;
}

static bool is_left(const struct schedule *s) {
    return s->next < s->plan->n_steps;
}

static int64_t time_of_next(const struct schedule *s) {
    return is_left(s) ? s->plan->steps[s->plan->order[s->next]].at_ns : NEVER;
}

/* At a million times as fast, hours are more than an int64_t of nanoseconds has. */
static int64_t captured_time(const struct schedule *s) {
    double played = (double)(s->now_ns - s->begun_ns - s->paused_ns) * s->speed;
    double all = (double)s->plan->end_ns - (double)s->plan->begin_ns;

    if (played >= all) return s->plan->end_ns;
    return s->plan->begin_ns + (int64_t)played;
}

void schedule_begin(struct schedule *s, const struct plan *p, double speed, int64_t now_ns) {
    *s = (struct schedule){.plan = p, .speed = speed, .now_ns = now_ns, .begun_ns = now_ns, .at_ns = p->begin_ns};
}

/* The capture's clock, at the chosen speed. It stands still for a moment where something is
 * late: the order in which things happened matters more than a millisecond. */
void schedule_enter(struct schedule *s, int64_t now_ns) {
    int64_t at_ns, next_ns;

    s->now_ns = now_ns;
    if (in_order(s)) return;
    at_ns = captured_time(s);
    next_ns = time_of_next(s);
    if (is_late(s) && at_ns > next_ns) {
        if (now_ns - s->released_ns < LATE_NS) {
            s->paused_ns += (int64_t)((double)(at_ns - next_ns) / s->speed);
            at_ns = next_ns;
        } else {
            s->given_up = s->unfinished;
        }
    }
    if (at_ns > s->at_ns) s->at_ns = at_ns;
}

bool schedule_next(struct schedule *s, uint32_t *step) {
    int64_t next_ns = time_of_next(s);

    if (!is_left(s) || (in_order(s) ? s->unfinished > 0 : next_ns > s->at_ns || is_late(s))) return false;
    *step = s->plan->order[s->next++];
    if (next_ns > s->at_ns) s->at_ns = next_ns;
    s->unfinished++;
    s->released_ns = s->now_ns;
    return true;
}

bool schedule_done(struct schedule *s) {
    bool held = s->held;

    s->unfinished--;
    if (s->given_up > s->unfinished) s->given_up = s->unfinished;
    if (s->unfinished > 0 && (in_order(s) || is_late(s) || !held)) return false;
    s->held = false;
    return true;
}

bool schedule_is_over(const struct schedule *s) {
    return !is_left(s) && s->unfinished == 0 && (in_order(s) || s->at_ns >= s->plan->end_ns);
}

int64_t schedule_wait_ns(struct schedule *s) {
    int64_t until = is_left(s) ? time_of_next(s) : s->plan->end_ns;
    double ns;

    if (s->unfinished && (in_order(s) || !is_left(s))) return NEVER;
    s->held = !in_order(s) && is_late(s);
    ns = in_order(s) ? 0 : ((double)until - (double)s->at_ns) / s->speed;
    if (s->held && ns < (double)LATE_NS) return LATE_NS;
    return ns < 0 ? 0 : ns > (double)A_DAY_NS ? A_DAY_NS : (int64_t)ns;
}
