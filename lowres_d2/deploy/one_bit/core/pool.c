/* Threads that wait for work, so that a layer does not have to start any.

   Not OpenMP: a second runtime of it beside torch's may end the process or its speed. Items are
   taken one by one from a shared counter; the caller works, too, and waits only for threads
   that have begun. A caller that finds the threads taken works alone. After a fork the child,
   which has no threads, starts its own. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "one_bit.h"

enum { MOST_THREADS = 256, LOOKS = 2000 /* for work before a thread sleeps, about 50 us */ };

static pthread_mutex_t caller = PTHREAD_MUTEX_INITIALIZER; /* whose threads these are now */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* of all below but the atomic ones */
static pthread_cond_t work_is_there = PTHREAD_COND_INITIALIZER;
static pthread_cond_t all_are_done = PTHREAD_COND_INITIALIZER;
static int64_t started, places; /* threads; how many more of them may join */
static void (*run)(void *, int64_t);
static void *of_run;
static int64_t items;
static int open_job;
static atomic_llong next_item, active, job_number;

static inline void wait_a_moment(void) {
#if defined(ONE_BIT_X86)
    __builtin_ia32_pause();
#elif defined(ONE_BIT_ARM)
    __asm__ volatile("yield");
#endif
}

static void take_items(void) {
    for (int64_t item; (item = atomic_fetch_add(&next_item, 1)) < items;) run(of_run, item);
}

static void *worker(void *unused) {
    for (long long seen = 0;;) {
        for (int look = 0; look < LOOKS && atomic_load(&job_number) == seen; look++)
            wait_a_moment();
        pthread_mutex_lock(&lock);
        while (!open_job || places == 0 || atomic_load(&job_number) == seen)
            pthread_cond_wait(&work_is_there, &lock);
        seen = atomic_load(&job_number);
        places--;
        atomic_fetch_add(&active, 1);
        pthread_mutex_unlock(&lock);
        take_items();
        pthread_mutex_lock(&lock);
        if (atomic_fetch_sub(&active, 1) == 1) pthread_cond_signal(&all_are_done);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void forget_threads(void) {
    static const pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    caller = lock = mutex;
    work_is_there = all_are_done = condition;
    started = places = 0;
    open_job = 0;
    atomic_store(&active, 0);
}

/* Signals are for the program's own threads: Python's handlers run in its first one. */
static void start_threads(int64_t wanted) {
    static int fork_is_handled;
    if (!fork_is_handled) fork_is_handled = !pthread_atfork(NULL, NULL, forget_threads);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (pthread_t thread; started < wanted; started++) {
        if (pthread_create(&thread, NULL, worker, NULL)) break; /* then there are fewer */
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void run_parallel(void (*job)(void *context, int64_t item), void *context, int64_t number,
                  int64_t threads) {
    int64_t others = smaller(smaller(threads, number), MOST_THREADS) - 1;
    if (others < 1 || pthread_mutex_trylock(&caller)) {
        for (int64_t item = 0; item < number; item++) job(context, item);
        return;
    }
    start_threads(others);
    pthread_mutex_lock(&lock);
    run = job, of_run = context, items = number, places = others;
    open_job = 1;
    atomic_store(&next_item, 0);
    atomic_fetch_add(&job_number, 1);
    if (others == 1)
        pthread_cond_signal(&work_is_there);
    else
        pthread_cond_broadcast(&work_is_there);
    pthread_mutex_unlock(&lock);
    take_items();
    for (int look = 0; look < LOOKS && atomic_load(&active); look++) wait_a_moment();
    pthread_mutex_lock(&lock);
    open_job = 0;
    while (atomic_load(&active)) pthread_cond_wait(&all_are_done, &lock);
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&caller);
}
