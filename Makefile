# connleak: finds HTTP connection leaks.
#
#   make            build both programs into build/
#   make run        install what is missing, build, run the daemon on its defaults
#   make test       install what is missing, build, pass every test
#   make help       everything else
#
# Variables:
#   V=1             print the commands
#   SAN=1           build with AddressSanitizer and UBSan (objects in build/san)
#   DEBUG=1         no optimisation, assertions that cost time
#   PREFIX, DESTDIR where `make install` puts things (/usr/local, nothing)
#   LLHTTP          folder of llhttp's C sources (Debian: node-llhttp), used where
#                   no libllhttp is installed; LLHTTP_INC its header's folder

PREFIX  ?= /usr/local
DESTDIR ?=
LLHTTP     ?= /usr/share/llhttp
LLHTTP_INC ?= /usr/share/include/llhttp
CC      ?= cc
B       := build$(if $(SAN),/san)$(if $(DEBUG),/debug)
Q       := $(if $(V),,@)
VERSION := 0.1.0

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(if $(CI)$(WERROR),-Werror)
HARDEN  := $(if $(SAN)$(DEBUG),,-D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE)
OPT     := $(if $(DEBUG)$(SAN),-O1 -fno-omit-frame-pointer,-O2)
comma   := ,
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined)
CFLAGS  ?= -g
ALL_CFLAGS  = -std=gnu11 $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) -MMD -MP -Idaemon -Iprobes -DCONNLEAK_VERSION='"$(VERSION)"' $(CFLAGS)
ALL_LDFLAGS = $(SANFLAGS) $(if $(SAN)$(DEBUG),,-pie -Wl,-z,relro,-z,now) $(LDFLAGS)

# One library a room; arrows go down only (README, "The map").
ROOMS := core log record io admin
PROBES := wire capture crosscheck
room_src  = $(wildcard daemon/$(1)/*.c)
probe_src = $(wildcard probes/$(1)/*.c)
obj       = $(patsubst %.c,$(B)/%.o,$(1))

CONF_LIBS   := -linih -lcrypt
DAEMON_LIBS := -levent -levent_extra -levent_openssl -lssl -lcrypto -ljansson $(CONF_LIBS) -lsystemd -lpthread
PROBE_LIBS  := -lpcap -ljansson -lz -lpthread

HAVE_LIBLLHTTP := $(shell pkg-config --exists libllhttp 2>/dev/null && echo 1)
ifeq ($(HAVE_LIBLLHTTP),1)
LLHTTP_OBJ :=
LLHTTP_CFLAGS := $(shell pkg-config --cflags libllhttp)
DAEMON_LIBS += $(shell pkg-config --libs libllhttp)
PROBE_LIBS  += $(shell pkg-config --libs libllhttp)
CORE_LIBS   := $(shell pkg-config --libs libllhttp)
else
LLHTTP_OBJ := $(B)/llhttp/llhttp.o $(B)/llhttp/http.o $(B)/llhttp/api.o
LLHTTP_CFLAGS := -I$(LLHTTP_INC) -DLLHTTP_STRICT_MODE=1
endif

LIBCORE   := $(B)/libcore.a
LIBWIRE   := $(B)/libwire.a
LIBRECORD := $(B)/librecord.a
LIBIO     := $(B)/libio.a
LIBCONF   := $(B)/libconf.a

.PHONY: all help deps run demo test check asan fuzz bench lint fmt install clean
all: $(B)/connleakd $(B)/connleak

$(LIBCORE):   $(call obj,$(call room_src,core)) $(LLHTTP_OBJ)
$(LIBRECORD): $(call obj,$(call room_src,record) $(call room_src,log))
$(LIBCONF):   $(call obj,daemon/conf.c daemon/conf_values.c daemon/conf_check.c daemon/access.c)
$(LIBIO):     $(call obj,$(call room_src,io))
$(LIBWIRE):   $(call obj,$(call probe_src,wire))
$(B)/%.a:
	@echo "  AR      $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/connleakd: $(call obj,daemon/main.c $(call room_src,admin)) $(LIBIO) $(LIBCONF) $(LIBRECORD) $(LIBCORE)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

$(B)/connleak: $(call obj,$(wildcard probes/*.c) $(call probe_src,capture) $(call probe_src,crosscheck)) $(LIBWIRE) $(LIBRECORD) $(LIBCORE)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PROBE_LIBS)

$(B)/daemon/core/h1.o: ALL_CFLAGS += $(LLHTTP_CFLAGS)
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(B)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	@echo "  CC      llhttp/$(notdir $<)"
	$(Q)$(CC) -std=gnu11 $(OPT) $(HARDEN) $(SANFLAGS) -w $(CFLAGS) $(LLHTTP_CFLAGS) -c -o $@ $<

# Tests: C programs that print TAP and link the pure rooms only.
TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/t_*.c tests/prop/t_*.c))
$(B)/tests/%: $(B)/tests/%.o $(LIBCONF) $(LIBWIRE) $(LIBRECORD) $(LIBCORE)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIBCONF) $(LIBWIRE) $(LIBRECORD) $(LIBCORE) $(CORE_LIBS) $(CONF_LIBS) -ljansson -lpthread
$(B)/tests/%.o: ALL_CFLAGS += -Itests/tools
$(B)/tests/unit/t_kernel_counters: $(B)/daemon/io/kernel_counters.o

clean:
	$(Q)rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
