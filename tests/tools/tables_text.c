/* What people read of the tables in core/tbl: conf/connleakd.conf, and the lists in manual pages.
 *
 *     tables_text sample > conf/connleakd.conf
 *     tables_text params     the list in connleakd.conf(5)
 *     tables_text words      the lists in connleak(7)
 *
 * Each list stands in its page between ".\" params begin" and ".\" params end", or
 * ".\" words begin" and ".\" words end". `make tables` writes all; a test compares. */
#include "conf.h"
#include "conf_values.h"
#include "core/advice.h"
#include "explain/words.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *about;
} sections[] = {
    {"pool", "upstream connections, with the names and meanings of Go's http.Transport"},
    {"proxy", "the side that clients see"},
    {"access", "who may use the proxy, and for what"},
    {"tls", "TLS with origins"},
    {"admin", "where the daemon answers questions about itself"},
    {"ledger", "the records of connections"},
    {"findings", "named causes with their evidence"},
    {"probe", "what the kernel can be asked"},
    {"log", "the operator's log, on stderr"},
};

static const char *about(const char *section) {
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        if (!strcmp(sections[i].name, section)) return sections[i].about;
    return "";
}

/* `text` in comment lines of at most 98 characters. */
static void comment(const char *text) {
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column && column + 1 + word > 96) column = (putchar('\n'), 0);
        printf("%s%.*s", column ? " " : "# ", (int)word, text);
        column += word + (column ? 1 : 0);
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void sample(void) {
    puts("# connleakd.conf: the configuration of connleakd(8), explained in connleakd.conf(5).\n"
         "#\n"
         "# Here stands every parameter with its default. Durations as in Go: 250ms, 1m30s, 0 = no limit.\n"
         "# Sizes: 4096, 64k, 10m. Lists have commas and may go on in lines that begin with a blank.\n"
         "# SIGHUP applies changes; parameters marked [restart] wait for a restart.");
    const char *section = "";
    for (size_t i = 0; i < n_conf_params; i++) {
        const struct param *p = &conf_params[i];
        char line[600];
        if (strcmp(section, p->section) != 0)
            printf("\n# %s\n[%s]\n", about(p->section), p->section);
        else
            putchar('\n');
        section = p->section;
        snprintf(line, sizeof(line), "%s%s%s%s%s", p->text, *p->refused ? " Only the default is accepted: " : "",
                 p->refused, *p->refused ? "." : "", p->flags & PF_RESTART ? " [restart]" : "");
        comment(line);
        printf("%s = %s\n", p->key, p->dflt);
    }
}

/* What a value may be. */
static void range(const struct param *p) {
    char lo[VALUE_TEXT_MAX], hi[VALUE_TEXT_MAX];
    switch (p->type) {
    case P_BOOL:
        printf("on or off");
        break;
    case P_INT:
        printf("%lld to %lld %s", (long long)p->min, (long long)p->max, p->unit);
        break;
    case P_DURATION:
        printf("duration, at most %s", duration_text(p->max, hi));
        break;
    case P_SIZE:
        printf("size, %s to %s", size_text((uint64_t)p->min, lo), size_text((uint64_t)p->max, hi));
        break;
    case P_ENUM:
        for (const char *c = p->unit; *c; c++)
            if (*c == '|')
                printf(", ");
            else
                putchar(*c);
        break;
    case P_STRING:
        printf("%s", p->unit);
        break;
    case P_LISTEN:
    case P_CLIENTS:
    case P_DESTINATIONS:
        printf("list: %s", p->unit);
        break;
    }
}

/* How much longer its escapes make a word: those of "()" and "-". */
static size_t escapes(const char *word, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += word[i] == '-' ? 1 : word[i] == '(' && i + 1 < len && word[i + 1] == ')' ? 2 : 0;
    return n;
}

/* Text for mdoc: a sentence begins a line, and none is longer than 78 characters. */
static void mdoc_text(const char *text) {
    size_t column = 0;
    bool sentence_ended = false;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column && (sentence_ended || column + 1 + word + escapes(text, word) > 78)) column = (putchar('\n'), 0);
        if (column) column = (putchar(' '), column + 1);
        if (!column && (*text == '.' || *text == '\'')) printf("\\&"); /* no request */
        for (size_t i = 0; i < word; i++)
            if (text[i] == '-')
                printf("\\-");
            else if (text[i] == '(' && text[i + 1] == ')')
                printf("(\\&"); /* or it would be a function of C */
            else
                putchar(text[i]);
        column += word + escapes(text, word);
        sentence_ended = text[word - 1] == '.' || text[word - 1] == '?';
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void params(void) {
    const char *section = "";
    for (size_t i = 0; i < n_conf_params; i++) {
        const struct param *p = &conf_params[i];
        if (strcmp(section, p->section) != 0) {
            printf("%s.Ss Section [%s]: %s\n.Bl -tag -width 4n\n", i ? ".El\n" : "", p->section, about(p->section));
            section = p->section;
        }
        printf(".It Ic %s No = Ar %s\n", p->key, p->dflt);
        mdoc_text(p->text);
        printf(".Pq ");
        range(p);
        printf("%s\n", p->flags & PF_LIVE ? "; SIGHUP applies it" : "");
        if (*p->refused) {
            puts(".br");
            char line[300];
            snprintf(line, sizeof(line), "Only the default is accepted: %s.", p->refused);
            mdoc_text(line);
        }
    }
    puts(".El");
}

/* The head of an item; one with blanks in quotes, so that no part of it is a macro. */
static void item(const char *name) {
    const char *quote = strchr(name, ' ') ? "\"" : "";
    printf(".It Li %s", quote);
    for (; *name; name++)
        if (*name == '^')
            printf("\\(ha");
        else
            putchar(*name);
    printf("%s", quote);
}

static void advice_list(enum finding_kind k) {
    struct advice a;
    puts(".Bl -tag -width 4n");
    for (unsigned i = 0; finding_advice_at(k, i, &a); i++) {
        if (i && finding_advice_like(k) != k) break;
        printf(".It %s\n", a.stack == STACK_UNKNOWN ? "Em What to do" : stack_text(a.stack));
        mdoc_text(a.text);
    }
    if (finding_advice_like(k) != k) printf("For each client see\n.Ql %s .\n", finding_name(finding_advice_like(k)));
    puts(".El");
}

static void see(const char *names) {
    if (!*names) return;
    printf("See\n");
    while (*names) {
        size_t len = strcspn(names, " ");
        const char *next = names + len + strspn(names + len, " ");
        printf(".Ql %.*s%s\n", (int)len, names, *next ? " ," : " .");
        names = next;
    }
}

static void word_item(enum word_group g, const struct word *w) {
    enum finding_kind kind;

    item(w->name);
    if (g == WORDS_MESSAGES || g == WORDS_RECORD || (g == WORDS_STACKS && *w->note)) printf(" Pq %s", w->note);
    putchar('\n');
    mdoc_text(w->text);
    if (*w->go_error) printf("In Go:\n.Dq %s .\n", w->go_error);
    if (*w->advice) {
        puts(".br");
        printf(".Em What to do :\n");
        mdoc_text(w->advice);
    }
    see(w->see);
    if (g == WORDS_FINDINGS && finding_parse(w->name, &kind)) advice_list(kind);
}

/* All groups but the parameters, which have a page of their own. */
static void words(void) {
    for (unsigned g = 0; g < N_WORD_GROUPS; g++) {
        size_t n;
        const struct word *w = words_of((enum word_group)g, &n);
        if (g == WORDS_PARAMS) continue;
        printf(".Sh %s\n", words_group((enum word_group)g)->title);
        mdoc_text(words_group((enum word_group)g)->intro);
        printf(".Bl -tag -width 4n\n");
        for (; n; n--, w++)
            if (w->name) word_item((enum word_group)g, w);
        puts(".El");
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "sample"))
        sample();
    else if (argc == 2 && !strcmp(argv[1], "params"))
        params();
    else if (argc == 2 && !strcmp(argv[1], "words"))
        words();
    else
        return fprintf(stderr, "usage: tables_text sample|params|words\n"), 2;
    return 0;
}
