/* When a replay's steps may be done: in order, or by the capture's clock. */
#include "replay/schedule.h"
#include "tap.h"

#define BEGIN SEC(1000)
#define NOW   SEC(7) /* when the replay begins */

static struct plan plan;
static struct schedule s;

/* A step at each of these milliseconds of the capture, which lasts until the last one. */
static void begin(double speed, uint32_t n, const int ms[], int end_ms) {
    plan_clear(&plan);
    plan.steps = calloc(n, sizeof *plan.steps);
    plan.order = calloc(n, sizeof *plan.order);
    if (!plan.steps || !plan.order) abort();
    plan.n_steps = n;
    for (uint32_t i = 0; i < n; i++) {
        plan.order[i] = i;
        plan.steps[i].at_ns = BEGIN + MSEC(ms[i]);
    }
    plan.begin_ns = BEGIN;
    plan.end_ns = BEGIN + MSEC(end_ms);
    schedule_begin(&s, &plan, speed, NOW);
}
#define STEPS(speed, end_ms, ...)                                                                                      \
    do {                                                                                                               \
        const int ms_[] = {__VA_ARGS__};                                                                               \
        begin(speed, sizeof ms_ / sizeof *ms_, ms_, end_ms);                                                           \
    } while (0)

/* The step that may be done so long after the beginning; -1: none. */
static int next_at(int64_t ns) {
    uint32_t step;

    schedule_enter(&s, NOW + ns);
    return schedule_next(&s, &step) ? (int)step : -1;
}

TEST(in_order_each_waits_for_the_one_before) {
    STEPS(0, 5000, 0, 10, 4000);
    CHECK_EQ(next_at(0), 0);
    CHECK_EQ(next_at(0), -1);
    CHECK_EQ(schedule_wait_ns(&s), NEVER);
    CHECK(schedule_done(&s));
    CHECK_EQ(schedule_wait_ns(&s), 0);
    CHECK_EQ(next_at(1), 1);
    CHECK_EQ(s.at_ns, BEGIN + MSEC(10)); /* the capture's clock goes with the steps */
    schedule_done(&s);
    CHECK_EQ(next_at(2), 2);
    CHECK(!schedule_is_over(&s));
    schedule_done(&s);
    CHECK(schedule_is_over(&s)); /* nobody waits for the capture's end */
}

TEST(by_the_clock_none_is_early) {
    STEPS(1, 200, 0, 100);
    CHECK_EQ(next_at(0), 0);
    schedule_done(&s);
    CHECK_EQ(schedule_wait_ns(&s), MSEC(100));
    CHECK_EQ(next_at(MSEC(100) - 1), -1);
    CHECK_EQ(next_at(MSEC(100)), 1);
    schedule_done(&s);
    CHECK(!schedule_is_over(&s));
    CHECK_EQ(schedule_wait_ns(&s), MSEC(100)); /* until the capture is over */
    CHECK_EQ(next_at(MSEC(200)), -1);
    CHECK(schedule_is_over(&s));
}

TEST(ten_times_as_fast) {
    STEPS(10, 1000, 0, 1000);
    CHECK_EQ(next_at(0), 0);
    schedule_done(&s);
    CHECK_EQ(schedule_wait_ns(&s), MSEC(100));
    CHECK_EQ(next_at(MSEC(99)), -1);
    CHECK_EQ(next_at(MSEC(100)), 1);
}

TEST(what_is_late_holds_the_others_and_the_clock) {
    STEPS(1, 100, 10, 11, 50);
    CHECK_EQ(next_at(MSEC(10)), 0); /* is not done at once */
    CHECK_EQ(next_at(MSEC(12)), -1);
    CHECK_EQ(s.at_ns, BEGIN + MSEC(11)); /* no further than where the next one is */
    CHECK_EQ(schedule_wait_ns(&s), LATE_NS);
    CHECK(schedule_done(&s));
    CHECK_EQ(next_at(MSEC(12)), 1);
    schedule_done(&s);
    CHECK_EQ(next_at(MSEC(50)), -1); /* a millisecond was lost, and all that follows comes later */
    CHECK_EQ(next_at(MSEC(51)), 2);
}

TEST(what_is_very_late_holds_nobody) {
    STEPS(1, 100, 10, 11, 12);
    CHECK_EQ(next_at(MSEC(10)), 0);
    CHECK_EQ(next_at(MSEC(12)), -1);
    CHECK_EQ(next_at(MSEC(10) + LATE_NS), 1);
    schedule_done(&s);
    CHECK_EQ(next_at(MSEC(20)), 2); /* the first is still not done */
    schedule_done(&s);
    CHECK_EQ(next_at(MSEC(200)), -1);
    CHECK(!schedule_is_over(&s));
    CHECK_EQ(schedule_wait_ns(&s), NEVER);
    CHECK(schedule_done(&s));
    CHECK(schedule_is_over(&s));
}

TEST(steps_of_one_time_come_one_after_the_other) {
    STEPS(1, 10, 5, 5, 5);
    CHECK_EQ(next_at(MSEC(6)), 0);
    CHECK_EQ(next_at(MSEC(6)), -1);
    schedule_done(&s);
    CHECK_EQ(next_at(MSEC(6)), 1);
    schedule_done(&s);
    CHECK_EQ(next_at(MSEC(6)), 2);
}

TEST(a_million_times_as_fast_for_hours) {
    STEPS(1e6, 1000, 0);
    CHECK_EQ(next_at(0), 0); /* its answer takes three hours */
    CHECK_EQ(next_at(SEC(3 * 3600)), -1);
    CHECK_EQ(s.at_ns, plan.end_ns);
    schedule_done(&s);
    CHECK(schedule_is_over(&s));
}

TEST(centuries_are_waited_for_by_the_day) {
    STEPS(0.001, 0, 0, 0);
    plan.steps[1].at_ns = plan.end_ns = INT64_MAX - 1;
    CHECK_EQ(next_at(0), 0);
    schedule_done(&s);
    CHECK_EQ(schedule_wait_ns(&s), SEC(86400));
    CHECK_EQ(next_at(SEC(86400)), -1);
}

TEST(nothing_to_do_is_over_when_the_capture_is) {
    begin(1, 0, NULL, 30);
    CHECK_EQ(next_at(0), -1);
    CHECK(!schedule_is_over(&s));
    CHECK_EQ(schedule_wait_ns(&s), MSEC(30));
    next_at(MSEC(30));
    CHECK(schedule_is_over(&s));
    begin(0, 0, NULL, 30);
    CHECK(schedule_is_over(&s));
}

int main(void) {
    int rc = tap_run();
    plan_clear(&plan);
    return rc;
}
