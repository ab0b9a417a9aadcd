/* Blocks all signals when it is loaded, and loops in C. */

#include <signal.h>

__attribute__((constructor)) static void at_load(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
    for (volatile int i = 0;; i++)
        continue;
}

void *PyInit_loops_when_loaded(void) {
    return 0;
}
