/* What a real kernel gave: the formats of Linux 6.18 as they stand in tracefs, that of Linux 5.16 to
 * 6.9 for RSTs, and the raw records of two connections over loopback, as the trace buffer held them. */
#ifndef CONNLEAK_TRACE_SAMPLES_H
#define CONNLEAK_TRACE_SAMPLES_H

#include <stdint.h>

static const char FORMAT_SEND[] =
    "name: tcp_send_reset\n"
    "ID: 2280\n"
    "format:\n"
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
    "\n"
    "\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n"
    "\tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;\n"
    "\tfield:int state;\toffset:24;\tsize:4;\tsigned:1;\n"
    "\tfield:enum sk_rst_reason reason;\toffset:28;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 saddr[28];\toffset:32;\tsize:28;\tsigned:0;\n"
    "\tfield:__u8 daddr[28];\toffset:60;\tsize:28;\tsigned:0;\n"
    "\n"
    "print fmt: \"skbaddr=%p skaddr=%p src=%pISpc dest=%pISpc state=%s reason=%s\", REC->skbaddr, REC"
    "->skaddr, REC->saddr, REC->daddr, REC->state ? __print_symbolic(REC->state, { TCP_ESTABLISHED, \"T"
    "CP_ESTABLISHED\" }, { TCP_SYN_SENT, \"TCP_SYN_SENT\" }, { TCP_SYN_RECV, \"TCP_SYN_RECV\" }, { TC"
    "P_FIN_WAIT1, \"TCP_FIN_WAIT1\" }, { TCP_FIN_WAIT2, \"TCP_FIN_WAIT2\" }, { TCP_TIME_WAIT, \"TCP_T"
    "IME_WAIT\" }, { TCP_CLOSE, \"TCP_CLOSE\" }, { TCP_CLOSE_WAIT, \"TCP_CLOSE_WAIT\" }, { TCP_LAST_A"
    "CK, \"TCP_LAST_ACK\" }, { TCP_LISTEN, \"TCP_LISTEN\" }, { TCP_CLOSING, \"TCP_CLOSING\" }, { TCP_"
    "NEW_SYN_RECV, \"TCP_NEW_SYN_RECV\" }) : \"UNKNOWN\", __print_symbolic(REC->reason, { 0, \"NOT_SP"
    "ECIFIED\" }, { 1, \"NO_SOCKET\" }, { 2, \"TCP_INVALID_ACK_SEQUENCE\" }, { 3, \"TCP_RFC7323_PAWS\" "
    "}, { 4, \"TCP_TOO_OLD_ACK\" }, { 5, \"TCP_ACK_UNSENT_DATA\" }, { 6, \"TCP_FLAGS\" }, { 7, \"TCP_"
    "OLD_ACK\" }, { 8, \"TCP_ABORT_ON_DATA\" }, { 9, \"TCP_TIMEWAIT_SOCKET\" }, { 10, \"INVALID_SYN\" "
    "}, { 11, \"TCP_ABORT_ON_CLOSE\" }, { 12, \"TCP_ABORT_ON_LINGER\" }, { 13, \"TCP_ABORT_ON_MEMORY\" "
    "}, { 14, \"TCP_STATE\" }, { 15, \"TCP_KEEPALIVE_TIMEOUT\" }, { 16, \"TCP_DISCONNECT_WITH_DATA\" "
    "}, { 17, \"MPTCP_RST_EUNSPEC\" }, { 18, \"MPTCP_RST_EMPTCP\" }, { 19, \"MPTCP_RST_ERESOURCE\" },"
    " { 20, \"MPTCP_RST_EPROHIBIT\" }, { 21, \"MPTCP_RST_EWQ2BIG\" }, { 22, \"MPTCP_RST_EBADPERF\" },"
    " { 23, \"MPTCP_RST_EMIDDLEBOX\" }, { 24, \"ERROR\" }, { 25, \"MAX\" })\n";

static const char FORMAT_RECEIVE[] =
    "name: tcp_receive_reset\n"
    "ID: 2279\n"
    "format:\n"
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
    "\n"
    "\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n"
    "\tfield:__u16 sport;\toffset:16;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 dport;\toffset:18;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 family;\toffset:20;\tsize:2;\tsigned:0;\n"
    "\tfield:__u8 saddr[4];\toffset:22;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 daddr[4];\toffset:26;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 saddr_v6[16];\toffset:30;\tsize:16;\tsigned:0;\n"
    "\tfield:__u8 daddr_v6[16];\toffset:46;\tsize:16;\tsigned:0;\n"
    "\tfield:__u64 sock_cookie;\toffset:64;\tsize:8;\tsigned:0;\n"
    "\n"
    "print fmt: \"family=%s sport=%hu dport=%hu saddr=%pI4 daddr=%pI4 saddrv6=%pI6c daddrv6=%pI6c soc"
    "k_cookie=%llx\", __print_symbolic(REC->family, { 2, \"AF_INET\" }, { 10, \"AF_INET6\" }), REC->s"
    "port, REC->dport, REC->saddr, REC->daddr, REC->saddr_v6, REC->daddr_v6, REC->sock_cookie\n";

static const char FORMAT_STATE[] =
    "name: inet_sock_set_state\n"
    "ID: 2287\n"
    "format:\n"
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
    "\n"
    "\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n"
    "\tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;\n"
    "\tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;\n"
    "\tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 protocol;\toffset:30;\tsize:2;\tsigned:0;\n"
    "\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 daddr[4];\toffset:36;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;\n"
    "\tfield:__u8 daddr_v6[16];\toffset:56;\tsize:16;\tsigned:0;\n"
    "\n"
    "print fmt: \"family=%s protocol=%s sport=%hu dport=%hu saddr=%pI4 daddr=%pI4 saddrv6=%pI6c daddr"
    "v6=%pI6c oldstate=%s newstate=%s\", __print_symbolic(REC->family, { 2, \"AF_INET\" }, { 10, \"AF"
    "_INET6\" }), __print_symbolic(REC->protocol, { 6, \"IPPROTO_TCP\" }, { 132, \"IPPROTO_SCTP\" }, "
    "{ 262, \"IPPROTO_MPTCP\" }), REC->sport, REC->dport, REC->saddr, REC->daddr, REC->saddr_v6, REC-"
    ">daddr_v6, __print_symbolic(REC->oldstate, { 1, \"TCP_ESTABLISHED\" }, { 2, \"TCP_SYN_SENT\" }, "
    "{ 3, \"TCP_SYN_RECV\" }, { 4, \"TCP_FIN_WAIT1\" }, { 5, \"TCP_FIN_WAIT2\" }, { 6, \"TCP_TIME_WAI"
    "T\" }, { 7, \"TCP_CLOSE\" }, { 8, \"TCP_CLOSE_WAIT\" }, { 9, \"TCP_LAST_ACK\" }, { 10, \"TCP_LIS"
    "TEN\" }, { 11, \"TCP_CLOSING\" }, { 12, \"TCP_NEW_SYN_RECV\" }), __print_symbolic(REC->newstate,"
    " { 1, \"TCP_ESTABLISHED\" }, { 2, \"TCP_SYN_SENT\" }, { 3, \"TCP_SYN_RECV\" }, { 4, \"TCP_FIN_WA"
    "IT1\" }, { 5, \"TCP_FIN_WAIT2\" }, { 6, \"TCP_TIME_WAIT\" }, { 7, \"TCP_CLOSE\" }, { 8, \"TCP_CL"
    "OSE_WAIT\" }, { 9, \"TCP_LAST_ACK\" }, { 10, \"TCP_LISTEN\" }, { 11, \"TCP_CLOSING\" }, { 12, \"T"
    "CP_NEW_SYN_RECV\" })\n";

/* No reason, ports apart from addresses, and the reset alone of all three. */
static const char FORMAT_SEND_OLD[] =
    "name: tcp_send_reset\n"
    "ID: 1596\n"
    "format:\n"
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
    "\n"
    "\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n"
    "\tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;\n"
    "\tfield:int state;\toffset:24;\tsize:4;\tsigned:1;\n"
    "\tfield:__u16 sport;\toffset:28;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 dport;\toffset:30;\tsize:2;\tsigned:0;\n"
    "\tfield:__u16 family;\toffset:32;\tsize:2;\tsigned:0;\n"
    "\tfield:__u8 saddr[4];\toffset:34;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 daddr[4];\toffset:38;\tsize:4;\tsigned:0;\n"
    "\tfield:__u8 saddr_v6[16];\toffset:42;\tsize:16;\tsigned:0;\n"
    "\tfield:__u8 daddr_v6[16];\toffset:58;\tsize:16;\tsigned:0;\n"
    "\n"
    "print fmt: \"skbaddr=%p skaddr=%p\", REC->skbaddr, REC->skaddr\n";

/* IPv4, closed with 100 bytes unread; then IPv6, closed, and a byte came 50 ms later. */
static const struct {
    int64_t at_ns;
    const char *hex;
} samples[] = {
    {14621430282518, "ef0800007846000000ca34af8288ffff070000000a00000071b80000020006007f0000010000000000000000"
     "000000000000ffff7f00000100000000000000000000ffff00000000"},
    {14621430306493, "ef08000078460000809234af8288ffff0700000002000000000071b8020006007f0000017f00000100000000"
     "000000000000ffff7f00000100000000000000000000ffff7f000001"},
    {14621430352139, "ef08000078460000809234af8288ffff0200000001000000e68671b8020006007f0000017f00000100000000"
     "000000000000ffff7f00000100000000000000000000ffff7f000001"},
    {14621430358590, "ef0810027846000040ae34af8288ffff0a0000000300000071b8e686020006007f0000017f00000100000000"
     "000000000000ffff7f00000100000000000000000000ffff7f000001"},
    {14621430362637, "ef0810027846000040ae34af8288ffff030000000100000071b8e686020006007f0000017f00000100000000"
     "000000000000ffff7f00000100000000000000000000ffff7f000001"},
    {14621430384303, "ef0800007846000000ca34af8288ffff0a0000000700000071b80000020006007f0000010000000000000000"
     "000000000000ffff7f00000100000000000000000000ffff00000000"},
    {14621460689957, "ef08000078460000809234af8288ffff0100000007000000e68671b8020006007f0000017f00000100000000"
     "000000000000ffff7f00000100000000000000000000ffff7f000001"},
    {14621460711550, "e70810027846000040ae34af8288ffff71b8e68602007f0000017f00000100000000000000000000ffff7f00"
     "000100000000000000000000ffff7f00000100000a01010000000000"},
    {14621460713942, "ef0810027846000040ae34af8288ffff010000000700000071b8e686020006007f0000017f00000100000000"
     "000000000000ffff7f00000100000000000000000000ffff7f000001"},
    {14621460718412, "e8080000784600000000000000000000809234af8288ffff070000000b000000020086e67f00000100000000"
     "000000000000000000000000000000000200b8717f0000010000000000000000000000000000000000000000"},
    {14621490930912, "ef08000078460000809314058188ffff070000000a000000a1b500000a0006007f0000060000000000000000"
     "00000000000000000000000100000000000000000000000000000000"},
    {14621490962558, "ef08000078460000409d14058188ffff07000000020000000000a1b50a000600000000000000000000000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621491003834, "ef08000078460000409d14058188ffff02000000010000003cb9a1b50a000600000000000000000000000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621491009751, "ef0810027846000040eb14058188ffff0a00000003000000a1b53cb90a0006007f0000067f00000600000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621491013524, "ef0810027846000040eb14058188ffff0300000001000000a1b53cb90a0006007f0000067f00000600000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621491061794, "ef08000078460000809314058188ffff0a00000007000000a1b500000a0006007f0000060000000000000000"
     "00000000000000000000000100000000000000000000000000000000"},
    {14621491067718, "ef08000078460000409d14058188ffff01000000040000003cb9a1b50a000600000000000000000000000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621491072736, "ef0810027846000040eb14058188ffff0100000008000000a1b53cb90a0006007f0000067f00000600000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621492060523, "ef0810015e550000409d14058188ffff04000000050000003cb9a1b50a000600000000000000000000000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621492063362, "ef0810015e550000409d14058188ffff05000000070000003cb9a1b50a000600000000000000000000000000"
     "00000000000000000000000100000000000000000000000000000001"},
    {14621541235526, "e808100178460000e08451f78388ffff00ad774b8188ffff06000000090000000a00b93c0000000000000000"
     "000000000000000000000001000000000a00b5a1000000000000000000000000000000000000000100000000"},
    {14621541254094, "e70800007846000040eb14058188ffffa1b53cb90a007f0000067f0000060000000000000000000000000000"
     "00010000000000000000000000000000000100000b01010000000000"},
    {14621541258966, "ef0800007846000040eb14058188ffff0800000007000000a1b53cb90a0006007f0000067f00000600000000"
     "00000000000000000000000100000000000000000000000000000001"},
};

#endif
