/*
 * stuck: a process in a state that stands in the way of a checkpoint or of a restore.
 *
 * usage: stuck MODE [PATH]; prints "ready" and waits.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

/* A connection to itself. */
static void tcp(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof at;
	int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

	need(bind(server, (void *)&at, length) == 0 && listen(server, 1) == 0, "listen");
	need(getsockname(server, (void *)&at, &length) == 0, "getsockname");
	need(connect(client, (void *)&at, length) == 0, "connect");
	need(accept(server, NULL, NULL) >= 0, "accept");
}

/* A server that nobody is connected to. */
static void server(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int server = socket(AF_INET, SOCK_STREAM, 0);

	need(bind(server, (void *)&at, sizeof at) == 0 && listen(server, 1) == 0, "listen");
}

static void unix_client(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int client = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(at.sun_path, path, sizeof at.sun_path - 1);
	need(connect(client, (void *)&at, sizeof at) == 0, path);
}

static void ghost(void)
{
	static char block[1 << 20];
	int file = open("/tmp/ghost", O_RDWR | O_CREAT, 0600);

	memset(block, 7, sizeof block);
	for (int i = 0; i < 4; i++)
		need(write(file, block, sizeof block) == sizeof block, "write");
	need(unlink("/tmp/ghost") == 0, "unlink");
}

/* The parent traces the child. */
static void traced(void)
{
	pid_t child = fork();

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	need(waitpid(child, NULL, 0) == child, "waitpid");
	need(ptrace(PTRACE_CONT, child, 0, 0) == 0, "ptrace");
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "idle", *path = argc > 2 ? argv[2] : "";
	int ends[2];
	char setup[256] = { 0 };

	if (!strcmp(mode, "tcp"))
		tcp();
	else if (!strcmp(mode, "listen"))
		server(atoi(path));
	else if (!strcmp(mode, "unix"))
		unix_client(path);
	else if (!strcmp(mode, "ghost"))
		ghost();
	else if (!strcmp(mode, "inotify"))
		need(inotify_add_watch(inotify_init(), path, IN_CREATE) >= 0, path);
	else if (!strcmp(mode, "io_uring"))
		need(syscall(SYS_io_uring_setup, 4, setup) >= 0, "io_uring_setup");
	else if (!strcmp(mode, "lock"))
		need(flock(open("/tmp/lock", O_RDWR | O_CREAT, 0600), LOCK_EX) == 0, "flock");
	else if (!strcmp(mode, "open"))
		need(open(path, O_RDWR) >= 0, path);
	else if (!strcmp(mode, "raw"))
		need(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0, "socket");
	else if (!strcmp(mode, "pipe"))
		need(pipe(ends) == 0 && fcntl(ends[0], F_SETPIPE_SZ, 4 << 20) > 0, "pipe");
	else if (!strcmp(mode, "traced"))
		traced();
	else if (strcmp(mode, "idle"))
		need(0, mode);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
