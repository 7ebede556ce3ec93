/*
 * hog: a process with a known amount of memory that tells the time and watches over itself.
 *
 * usage: hog MB [DIRTY_MB]
 *   MB        memory, in MiB; every other page is random (incompressible), the rest compresses well
 *   DIRTY_MB  of these, so many are written over and over: one pass of them every second
 *
 * Every 10 ms it prints a number, counting up from 0, and the time (seconds since 1970 with
 * nanoseconds): the largest gap between two lines is how long it stood still. At each of these ticks
 * it checks the sums of some pages, so that all come round. SIGUSR1 makes it check all pages at once
 * and print "checked N pages". A page that is not what it was: "corrupt page N", and exit 1.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t), CHECKED_PER_TICK = 64, TICK_MS = 10 };

static volatile sig_atomic_t check_all;

static void on_usr1(int number)
{
    (void)number;
    check_all = 1;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static uint64_t sum_of(const uint64_t *page)
{
    uint64_t sum = 14695981039346656037ull; /* FNV-1a, by words */
    for (int i = 0; i < WORDS; i++)
        sum = (sum ^ page[i]) * 1099511628211ull;
    return sum;
}

static void check(const uint64_t *memory, const uint64_t *sums, size_t page)
{
    if (sum_of(memory + page * WORDS) == sums[page])
        return;
    printf("corrupt page %zu\n", page);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: hog MB [DIRTY_MB]\n");
        return 2;
    }
    size_t pages = strtoul(argv[1], NULL, 10) * (1 << 20) / PAGE;
    size_t dirty = argc > 2 ? strtoul(argv[2], NULL, 10) * (1 << 20) / PAGE : 0;
    if (pages == 0 || dirty > pages) {
        fprintf(stderr, "hog: MB must be at least 1, DIRTY_MB at most MB\n");
        return 2;
    }
    uint64_t *memory = malloc(pages * PAGE);
    uint64_t *sums = malloc(pages * sizeof *sums);
    if (!memory || !sums) {
        perror("hog");
        return 1;
    }
    uint64_t random = 88172645463325252ull;
    for (size_t page = 0; page < pages; page++) {
        for (int i = 0; i < WORDS; i++)
            memory[page * WORDS + i] = page % 2 ? next_random(&random) : page;
        sums[page] = sum_of(memory + page * WORDS);
    }

    struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    size_t dirty_per_tick = (dirty * TICK_MS + 999) / 1000;
    size_t next_check = 0, next_dirty = 0;
    for (uint64_t number = 0;; number++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        printf("%llu %lld.%09ld\n", (unsigned long long)number, (long long)now.tv_sec, now.tv_nsec);
        for (size_t i = 0; i < dirty_per_tick; i++) {
            uint64_t *page = memory + next_dirty * WORDS;
            check(memory, sums, next_dirty);
            page[number % WORDS] += number + 1;
            sums[next_dirty] = sum_of(page);
            next_dirty = (next_dirty + 1) % dirty;
        }
        for (size_t i = 0; i < CHECKED_PER_TICK && i < pages; i++) {
            check(memory, sums, next_check);
            next_check = (next_check + 1) % pages;
        }
        if (check_all) {
            check_all = 0;
            for (size_t page = 0; page < pages; page++)
                check(memory, sums, page);
            printf("checked %zu pages\n", pages);
        }
        nanosleep(&tick, NULL);
    }
}
