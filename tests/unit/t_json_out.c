/* json_out.h: JSON text as RFC 8259 has it, and times as RFC 3339 has them. */
#include "record/json_out.h"

#include <time.h>

#include "tap.h"

static struct json_out o;
static char text[4096];

/* What was written since the last call, as a string. */
static const char *got(void) {
    if (o.len >= sizeof(text)) return "(too long)";
    if (o.len) memcpy(text, o.data, o.len);
    text[o.len] = 0;
    json_out_reset(&o);
    return text;
}

static const char *str(const char *s) {
    jo_str(&o, s);
    return got();
}
static const char *strn(const char *s, size_t len) {
    jo_strn(&o, s, len);
    return got();
}
static const char *u64(uint64_t n) {
    jo_u64(&o, n);
    return got();
}
static const char *i64(int64_t n) {
    jo_i64(&o, n);
    return got();
}
static const char *fixed(int64_t n, unsigned decimals) {
    jo_fixed(&o, n, decimals);
    return got();
}
static const char *ms(int64_t ns) {
    jo_ms(&o, ns);
    return got();
}
static const char *ratio(uint64_t part, uint64_t whole) {
    jo_ratio(&o, part, whole);
    return got();
}
static const char *at(int64_t ns) {
    jo_time(&o, ns);
    return got();
}

TEST(commas_stand_between_and_nowhere_else) {
    jo_object(&o);
    JO_KEY(&o, "a");
    jo_u64(&o, 1);
    JO_KEY(&o, "list");
    jo_array(&o);
    jo_null(&o);
    jo_array(&o);
    jo_array_end(&o);
    jo_object(&o);
    jo_object_end(&o);
    jo_bool(&o, true);
    jo_bool(&o, false);
    jo_str(&o, "x");
    jo_raw(&o, "{}", 2);
    jo_time(&o, 0);
    jo_i64(&o, -1);
    jo_fixed(&o, 15, 1);
    jo_array_end(&o);
    jo_key(&o, "we\"ird");
    jo_object(&o);
    jo_object_end(&o);
    JO_KEY(&o, "z");
    jo_str(&o, NULL);
    jo_object_end(&o);
    CHECK_STR(got(), "{\"a\":1,\"list\":[null,[],{},true,false,\"x\",{},\"1970-01-01T00:00:00.000000Z\",-1,1.5],"
                     "\"we\\\"ird\":{},\"z\":null}");
}

TEST(a_line_begins_a_new_document) {
    jo_u64(&o, 1);
    jo_line(&o);
    jo_u64(&o, 2);
    jo_line(&o);
    CHECK_STR(got(), "1\n2\n");
}

TEST(whole_numbers) {
    CHECK_STR(u64(0), "0");
    CHECK_STR(u64(9), "9");
    CHECK_STR(u64(UINT64_MAX), "18446744073709551615");
    CHECK_STR(i64(INT64_MIN), "-9223372036854775808");
    CHECK_STR(i64(INT64_MAX), "9223372036854775807");
    char want[32];
    uint64_t n = 1;
    for (unsigned i = 0; i < 20; i++, n *= 10)
        for (unsigned d = 0; d < 3; d++) {
            snprintf(want, sizeof(want), "%" PRIu64, n - 1 + d);
            CHECK_STR(u64(n - 1 + d), want);
        }
}

TEST(fractions_without_their_trailing_zeros) {
    CHECK_STR(fixed(12300, 3), "12.3");
    CHECK_STR(fixed(12000, 3), "12");
    CHECK_STR(fixed(0, 3), "0");
    CHECK_STR(fixed(7, 3), "0.007");
    CHECK_STR(fixed(-7, 3), "-0.007");
    CHECK_STR(fixed(1000000001, 9), "1.000000001");
    CHECK_STR(fixed(5, 0), "5");
    CHECK_STR(fixed(INT64_MIN, 9), "-9223372036.854775808");
}

TEST(milliseconds_are_rounded_down_to_the_microsecond) {
    CHECK_STR(ms(1234567999), "1234.567");
    CHECK_STR(ms(999), "0");
    CHECK_STR(ms(1000), "0.001");
    CHECK_STR(ms(-1), "-0.001");
    CHECK_STR(ms(-1000), "-0.001");
}

TEST(ratios_have_four_decimals_rounded) {
    CHECK_STR(ratio(111, 120), "0.925");
    CHECK_STR(ratio(2, 3), "0.6667");
    CHECK_STR(ratio(0, 3), "0");
    CHECK_STR(ratio(3, 3), "1");
    CHECK_STR(ratio(1, 0), "null");
    CHECK_STR(ratio(UINT64_MAX, UINT64_MAX), "1");
}

TEST(strings_are_escaped) {
    CHECK_STR(str(""), "\"\"");
    CHECK_STR(str("plain text"), "\"plain text\"");
    CHECK_STR(str("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
    CHECK_STR(str("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    CHECK_STR(strn("\0\x1f\x7f", 3), "\"\\u0000\\u001f\\u007f\"");
    CHECK_STR(str("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"), "\"\\u0080\\u009b\\u009f\xc2\xa0\"");
    CHECK_STR(str("plain, then\1"), "\"plain, then\\u0001\"");
}

TEST(words_are_strings_without_escapes) {
    jo_array(&o);
    jo_word(&o, "early_close");
    jo_word(&o, NULL);
    jo_word(&o, "");
    jo_array_end(&o);
    CHECK_STR(got(), "[\"early_close\",null,\"\"]");
}

TEST(utf8_passes_and_what_is_not_becomes_the_replacement_character) {
#define R "\xef\xbf\xbd"
    CHECK_STR(str("Gr\xc3\xbc\xc3\x9f"), "\"Gr\xc3\xbc\xc3\x9f\"");
    CHECK_STR(str("\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xe2\x82\xac\xf0\x9f\x98\x80\"");
    CHECK_STR(str("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"), "\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"");
    CHECK_STR(str("a\xff\xfe!"), "\"a" R R "!\"");
    CHECK_STR(str("\x80"), "\"" R "\"");
    CHECK_STR(str("\xc3"), "\"" R "\"");             /* cut off */
    CHECK_STR(str("\xe2\x82"), "\"" R R "\"");       /* cut off */
    CHECK_STR(str("\xc3("), "\"" R "(\"");           /* no continuation */
    CHECK_STR(str("\xc0\xaf"), "\"" R R "\"");       /* overlong */
    CHECK_STR(str("\xe0\x9f\xbf"), "\"" R R R "\""); /* overlong */
    CHECK_STR(str("\xf0\x8f\xbf\xbf"), "\"" R R R R "\"");
    CHECK_STR(str("\xed\xa0\x80"), "\"" R R R "\""); /* a surrogate */
    CHECK_STR(str("\xf4\x90\x80\x80"), "\"" R R R R "\"");
    CHECK_STR(str("\xf5\x80\x80\x80"), "\"" R R R R "\"");
    CHECK_STR(strn("\xc3\xbc", 1), "\"" R "\""); /* reads no further than it may */
}

TEST(every_length_of_every_escape_fits_its_buffer) {
    static char s[3000];
    for (unsigned n = 0; n < sizeof(s); n += 7) {
        memset(s, 1, n);
        json_out_free(&o);
        jo_strn(&o, s, n);
        CHECK_EQ(o.len, 2 + 6 * n);
        CHECK(o.len <= o.room && o.data[0] == '"' && o.data[o.len - 1] == '"');
    }
    json_out_reset(&o);
}

TEST(times) {
    CHECK_STR(at(0), "\"1970-01-01T00:00:00.000000Z\"");
    CHECK_STR(at(1767323045678901234), "\"2026-01-02T03:04:05.678901Z\"");
    CHECK_STR(at(-1), "\"1969-12-31T23:59:59.999999Z\"");
    CHECK_STR(at(951782400000000000), "\"2000-02-29T00:00:00.000000Z\"");
    CHECK_STR(at(INT64_MAX), "\"2262-04-11T23:47:16.854775Z\"");
    CHECK_STR(at(INT64_MIN), "\"1677-09-21T00:12:43.145224Z\"");
}

TEST(every_day_of_500_years_is_the_one_that_libc_has) {
    char want[40], have[JSON_TIME_LEN + 1] = {0};
    for (int64_t day = -106000; day < 106000; day++) {
        time_t t = day * 86400 + 86399;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.000000Z", &tm);
        CHECK_EQ(text_time(have, (int64_t)t * 1000000000), JSON_TIME_LEN);
        CHECK_STR(have, want);
    }
}

TEST(the_text_can_be_taken) {
    size_t len;
    jo_str(&o, "mine");
    char *mine = json_out_take(&o, &len);
    CHECK_STR(mine, "\"mine\"");
    CHECK_EQ(len, 6);
    CHECK(o.data == NULL && o.len == 0 && !o.comma);
    free(mine);
    mine = json_out_take(&o, &len); /* of nothing: empty, but a string */
    CHECK_STR(mine, "");
    free(mine);
}

TEST(bytes_that_are_no_json) {
    JO_PUT(&o, "# HELP x\n");
    jo_put(&o, "y", 1);
    CHECK_STR(got(), "# HELP x\ny");
}

int main(void) {
    int failed = tap_run();
    json_out_free(&o);
    return failed;
}
