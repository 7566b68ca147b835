/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See report-writer.h. One mutex guards both queues; the thread sleeps on `wake`, the loop on an eventfd, finish() on `idle`.
 */
#include <pthread.h>
#include <sys/eventfd.h>

#include "report-writer.h"

#define PRUNE_EVERY 32 /* reports written in a row */

struct job {
        struct final_report *report;
        char *path, *sentence;
        int error;
        struct job *next;
};

struct queue {
        struct job *first, **last;
};

struct report_writer {
        const struct state_dir *state;
        const struct report_limits *limits;
        report_written_t written;
        void *userdata;
        sd_event_source *source;
        int fd; /* eventfd: something is done */
        pthread_t thread;
        bool running;      /* the thread was started */
        unsigned unpruned; /* the thread's own: reports since the last pruning */

        pthread_mutex_t mutex;
        pthread_cond_t wake, idle;
        struct queue todo, done;
        bool busy, quit;
};

static void queue_init(struct queue *q) {
        *q = (struct queue){.last = &q->first};
}

static void queue_push(struct queue *q, struct job *j) {
        j->next = NULL;
        *q->last = j;
        q->last = &j->next;
}

static struct job *queue_pop(struct queue *q) {
        struct job *j = q->first;

        if (!j)
                return NULL;
        q->first = j->next;
        if (!q->first)
                q->last = &q->first;
        return j;
}

static struct job *job_free(struct job *j) {
        final_report_free(j->report);
        free(j->path);
        free(j->sentence);
        free(j);
        return NULL;
}
DEFINE_CLEANUP(struct job, job_free)

/* Pruning reads the whole directory: not for each of many that are written in a row. */
static void write_job(struct report_writer *w, struct job *j, bool last) {
        j->error = final_report_write(j->report, w->state, &j->path, &j->sentence);
        if (j->error < 0 || (++w->unpruned < PRUNE_EVERY && !last))
                return;
        w->unpruned = 0;
        (void)state_dir_prune_reports(w->state, w->limits, strrchr(j->path, '/') + 1);
}

static void *work(void *userdata) {
        struct report_writer *w = userdata;

        (void)pthread_mutex_lock(&w->mutex);
        while (!w->quit) {
                struct job *j = queue_pop(&w->todo);
                bool last = !w->todo.first;

                if (!j) {
                        (void)pthread_cond_signal(&w->idle);
                        (void)pthread_cond_wait(&w->wake, &w->mutex);
                        continue;
                }
                w->busy = true;
                (void)pthread_mutex_unlock(&w->mutex);
                write_job(w, j, last);
                (void)pthread_mutex_lock(&w->mutex);
                w->busy = false;
                queue_push(&w->done, j);
                (void)eventfd_write(w->fd, 1);
        }
        (void)pthread_mutex_unlock(&w->mutex);
        return NULL;
}

static struct job *pop_done(struct report_writer *w) {
        struct job *j;

        (void)pthread_mutex_lock(&w->mutex);
        j = queue_pop(&w->done);
        (void)pthread_mutex_unlock(&w->mutex);
        return j;
}

static void hand_over(struct report_writer *w) {
        for (;;) {
                _cleanup_(job_freep) struct job *j = pop_done(w);

                if (!j)
                        return;
                w->written(w->userdata, j->report, j->path, j->error, j->sentence);
        }
}

static int on_done(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        eventfd_t count;

        (void)eventfd_read(fd, &count);
        hand_over(userdata);
        return 0;
}

int report_writer_new(sd_event *event, const struct state_dir *state, const struct report_limits *limits,
        report_written_t written, void *userdata, struct report_writer **ret, char **reterr) {
        _cleanup_(report_writer_freep) struct report_writer *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        w->state = state;
        w->limits = limits;
        w->written = written;
        w->userdata = userdata;
        (void)pthread_mutex_init(&w->mutex, NULL);
        (void)pthread_cond_init(&w->wake, NULL);
        (void)pthread_cond_init(&w->idle, NULL);
        queue_init(&w->todo);
        queue_init(&w->done);
        w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (w->fd < 0)
                return fail(reterr, -errno, "Cannot make an eventfd: %s.", strerror(errno));
        r = sd_event_add_io(event, &w->source, w->fd, EPOLLIN, on_done, w);
        if (r < 0)
                return fail(reterr, r, "Cannot watch the writer of reports: %s.", strerror(-r));
        r = -pthread_create(&w->thread, NULL, work, w);
        if (r < 0)
                return fail(reterr, r, "Cannot start the writer of reports: %s.", strerror(-r));
        w->running = true;
        *ret = TAKE(w);
        return 0;
}

void report_writer_add(struct report_writer *w, struct final_report *f) {
        struct job *j = calloc(1, sizeof(*j));

        if (!j) {
                w->written(w->userdata, f, NULL, -ENOMEM, NULL);
                final_report_free(f);
                return;
        }
        j->report = f;
        (void)pthread_mutex_lock(&w->mutex);
        queue_push(&w->todo, j);
        (void)pthread_cond_signal(&w->wake);
        (void)pthread_mutex_unlock(&w->mutex);
}

void report_writer_finish(struct report_writer *w) {
        (void)pthread_mutex_lock(&w->mutex);
        while (w->todo.first || w->busy)
                (void)pthread_cond_wait(&w->idle, &w->mutex);
        (void)pthread_mutex_unlock(&w->mutex);
        hand_over(w);
}

struct report_writer *report_writer_free(struct report_writer *w) {
        struct job *j;

        if (!w)
                return NULL;
        if (w->running) {
                (void)pthread_mutex_lock(&w->mutex);
                w->quit = true;
                (void)pthread_cond_signal(&w->wake);
                (void)pthread_mutex_unlock(&w->mutex);
                (void)pthread_join(w->thread, NULL);
        }
        while ((j = queue_pop(&w->todo)) || (j = queue_pop(&w->done)))
                job_free(j);
        sd_event_source_disable_unref(w->source);
        closep(&w->fd);
        (void)pthread_cond_destroy(&w->wake);
        (void)pthread_cond_destroy(&w->idle);
        (void)pthread_mutex_destroy(&w->mutex);
        free(w);
        return NULL;
}
