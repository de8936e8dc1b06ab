/* utf8.h: what is a character, what a terminal would obey, and what is left of a text without that. */
#include "core/utf8.h"

#include "tap.h"

static size_t length(const char *s) {
    return utf8_length((const unsigned char *)s, strlen(s));
}

static bool is_control(const char *s) {
    return utf8_is_control((const unsigned char *)s, length(s));
}

static char text[64];
static const char *plain(const char *s) {
    memset(text, 'Z', sizeof text);
    text[utf8_plain(s, strlen(s), text)] = 0;
    return text;
}

TEST(characters_have_the_lengths_of_rfc_3629) {
    CHECK_EQ(length("a"), 1);
    CHECK_EQ(length("\x7f"), 1);
    CHECK_EQ(length("\xc3\xa4"), 2);
    CHECK_EQ(length("\xe2\x82\xac"), 3);
    CHECK_EQ(length("\xf0\x9f\x90\x9f"), 4);
    CHECK_EQ(length("\xf4\x8f\xbf\xbf"), 4);
    CHECK_EQ(length("\xc2\x80"), 2);
    CHECK_EQ(length("\xe0\xa0\x80"), 3);
    CHECK_EQ(length("\xf0\x90\x80\x80"), 4);
    CHECK_EQ(length("\xed\x9f\xbf"), 3);
}

TEST(what_is_cut_overlong_or_beyond_is_none) {
    static const char *const none[] = {"\x80",
                                       "\xbf",
                                       "\xc3",
                                       "\xc3(",
                                       "\xc0\xaf",
                                       "\xc1\xbf",
                                       "\xe0\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xe2\x82",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf0\x9f\x90",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (length(none[i])) tap_fail(__FILE__, __LINE__, "number %zu has a length", i);
}

TEST(c0_del_and_c1_are_control_characters) {
    for (unsigned c = 0; c < 0x100; c++) {
        unsigned char two[2] = {0xc2, (unsigned char)c};
        unsigned char one = (unsigned char)c;
        if (c < 0x80) CHECK_EQ(utf8_is_control(&one, 1), c < 0x20 || c == 0x7f);
        if (c >= 0x80 && c < 0xc0) CHECK_EQ(utf8_is_control(two, 2), c < 0xa0);
    }
    CHECK(!is_control("\xc3\x9b")); /* U+00DB ends with the same byte */
    CHECK(!is_control("\xe2\x82\x9b"));
}

TEST(a_plain_text_has_question_marks_for_them) {
    CHECK_STR(plain("curl/7.88.1"), "curl/7.88.1");
    CHECK_STR(plain("a\x1b[31mb\r\n\x7f"), "a?[31mb???");
    CHECK_STR(plain("\xc2\x9b"
                    "31m"),
              "?31m");
    CHECK_STR(plain("\x9b"
                    "31m \xc3"),
              "?31m ?");
    CHECK_STR(plain("B\xc3\xa4r \xf0\x9f\x90\x9f"), "B\xc3\xa4r \xf0\x9f\x90\x9f");
    CHECK_STR(plain(""), "");
    CHECK_EQ(utf8_plain("\0", 1, text), 1);
    CHECK_EQ(text[0], '?');
}

TEST(a_text_may_be_made_plain_where_it_stands) {
    strcpy(text, "\xc2\x85x\xc3\xa4\x1by");
    text[utf8_plain(text, strlen(text), text)] = 0;
    CHECK_STR(text, "?x\xc3\xa4?y");
}

int main(void) {
    return tap_run();
}
