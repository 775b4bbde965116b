#include "server/models/model_loads.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "api/unicode.h"

#define MEASURE_SECONDS 0.3

static void loads_next(struct model_loads *l);

/* Else each thread that ever read a model would keep the room of one. Takes about a millisecond. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* ---- the end of one ------------------------------------------------------------------------- */

/* Do both paths name one file, as far as can be seen now? Its links of other names are other
 * models.
 */
static bool is_same_file(const char *a, const char *b)
{
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    struct stat file_a, file_b;
    return strcmp(a, b) == 0 ||
           (strcmp(slash_a ? slash_a + 1 : a, slash_b ? slash_b + 1 : b) == 0 &&
            stat(a, &file_a) == 0 && stat(b, &file_b) == 0 && file_a.st_dev == file_b.st_dev &&
            file_a.st_ino == file_b.st_ino);
}

static struct served_model *served_from(const struct model_set *set, const char *path)
{
    for (size_t i = 0; i < set->n_served; i++) {
        if (is_same_file(set->served[i]->path, path)) {
            return set->served[i];
        }
    }
    return NULL;
}

/* `m` is what is served from there now, or NULL. */
static void note_reload(const struct model_load *load, struct served_model *m)
{
    if (!m || load->result == MODEL_LOADED) {
        return;
    }
    m->reloaded_s = (int64_t)time(NULL);
    m->reload_error[0] = '\0';
    if (load->result == MODEL_REFUSED) {
        strncat(m->reload_error, load->problem.detail, sizeof m->reload_error - 1);
    }
}

static void log_load(const struct log *log, const struct model_load *load)
{
    if (load->result == MODEL_REFUSED) {
        log_event(log, LOG_ERROR, "model_refused", LOG_S("file", load->path),
                  LOG_S("reason", load->problem.detail));
        return;
    }
    const struct dn_model_info *info = served_model_info(load->served);
    bool is_new = load->result != MODEL_UNCHANGED;
    log_event(log, LOG_INFO, is_new ? "model_loaded" : "model_unchanged",
              LOG_S("model", info->name), LOG_S("digest", info->digest), LOG_S("file", load->path),
              LOG_S("replaces", load->result == MODEL_REPLACED ? load->digest : NULL),
              LOG_I("evaluations", load->served->batch_limit));
}

static void reload_end(struct model_loads *l, enum model_load_result result)
{
    l->reloaded[result]++;
    if (--l->n_reloading > 0) {
        return;
    }
    log_event(l->log, LOG_INFO, "models_reloaded", LOG_I("replaced", l->reloaded[MODEL_REPLACED]),
              LOG_I("unchanged", l->reloaded[MODEL_UNCHANGED]),
              LOG_I("refused", l->reloaded[MODEL_REFUSED]));
    if (l->reload_again) {
        l->reload_again = false;
        model_loads_reload(l);
    }
    if (l->n_reloading == 0) {
        l->reload_ended(l);
    }
}

/* `load` has its result. */
static void load_end(struct model_loads *l, struct model_load *load)
{
    TAILQ_REMOVE(&l->queue, load, link);
    l->n_queued--;
    l->serving->metrics->model_loads[load->result]++;
    note_reload(load, served_from(&l->serving->models, load->path));
    log_load(l->log, load);
    if (load->ended) {
        load->ended(load, load->arg);
    }
    if (load->is_reload) {
        reload_end(l, load->result);
    }
    free(load->path);
    free(load);
    give_memory_back();
}

static void refuse_draining(struct model_load *load)
{
    load->result = MODEL_REFUSED;
    problem_set(&load->problem, PROBLEM_DRAINING, "The server finishes its work and shuts down.");
}

/* ---- models change -------------------------------------------------------------------------- */

static void on_let_go(struct served_model *m, void *arg)
{
    struct model_loads *l = arg;
    struct serving *serving = l->serving;
    int place = model_set_find_name(&serving->models, served_model_info(m)->name);
    if (place >= 0) {
        serving->models.served[place]->n_images += m->n_images;
    }
    serving->metrics->models_retiring--;
    log_event(l->log, LOG_INFO, "model_gone", LOG_S("model", served_model_info(m)->name),
              LOG_S("digest", served_model_info(m)->digest));
    served_model_free(m);
    give_memory_back();
}

static void retire(struct model_loads *l, struct served_model *m)
{
    struct serving *serving = l->serving;
    serving->metrics->models_retiring++;
    scheduler_retire_model(serving->scheduler, m, on_let_go, l);
}

static void publish(struct serving *serving)
{
    model_set_publish(&serving->models, serving->options, &serving->api);
}

void model_loads_activate(struct model_loads *l, size_t place)
{
    struct serving *serving = l->serving;
    model_set_activate(&serving->models, place);
    publish(serving);
    const struct dn_model_info *info = served_model_info(serving->models.served[0]);
    log_event(l->log, LOG_INFO, "model_activated", LOG_S("model", info->name),
              LOG_S("digest", info->digest));
}

int model_loads_unload(struct model_loads *l, size_t place, struct problem *problem)
{
    struct serving *serving = l->serving;
    if (place == 0) {
        problem_set(problem, PROBLEM_MODEL_IS_DEFAULT,
                    "%s is the default model: activate another one first.",
                    served_model_info(serving->models.served[0])->name);
        return -1;
    }
    struct served_model *m = model_set_take(&serving->models, place);
    publish(serving);
    log_event(l->log, LOG_INFO, "model_unloaded", LOG_S("model", served_model_info(m)->name),
              LOG_S("digest", served_model_info(m)->digest), LOG_I("rows", m->n_rows));
    retire(l, m);
    return 0;
}

/* May the model that was opened serve? Returns 0, or -1 with the problem. */
static int check_place(const struct serving *serving, const struct model_load *load,
                       struct problem *problem)
{
    const struct model_set *set = &serving->models;
    const char *name = served_model_info(load->opened)->name;
    int place = model_set_find_name(set, name);
    if (place >= 0 && !is_same_file(set->served[place]->path, load->path)) {
        problem_set(problem, PROBLEM_MODEL_EXISTS, "A model named %s is served from %s.", name,
                    set->served[place]->path);
    } else if (model_name_is_alias(serving->options->model_aliases, name)) {
        problem_set(problem, PROBLEM_MODEL_EXISTS, "%s is another name of a model (--model-alias).",
                    name);
    } else if (place < 0 && load->is_reload) {
        problem_set(problem, PROBLEM_MODEL_NOT_FOUND, "The model %s was unloaded meanwhile.", name);
    } else if (place < 0 && set->n_served == OPTIONS_MAX_MODELS) {
        problem_set(problem, PROBLEM_MODELS_FULL, "%d models are served, which is the most.",
                    OPTIONS_MAX_MODELS);
    } else {
        return 0;
    }
    return -1;
}

/* The model that was opened begins to serve, in one turn of the loop. */
static void load_publish(struct model_loads *l, struct model_load *load)
{
    struct serving *serving = l->serving;
    struct served_model *m = load->opened, *old = model_set_put(&serving->models, m);
    load->opened = NULL;
    load->served = m;
    load->result = old ? MODEL_REPLACED : MODEL_LOADED;
    scheduler_add_model(serving->scheduler, m);
    publish(serving);
    if (old) {
        retire(l, old);
    }
}

static void load_settle(struct model_loads *l, struct model_load *load)
{
    char *text = load->error.text;
    load->result = MODEL_REFUSED;
    if (load->rc != 0 && !unicode_valid(text, strlen(text))) { /* a long path is cut anywhere */
        for (; *text; text++) {
            *text = (char)(*text & 0x80 ? '?' : *text);
        }
    }
    if (load->rc == DN_ENOMEM) {
        problem_set(&load->problem, PROBLEM_OUT_OF_MEMORY, "%s", load->error.text);
    } else if (load->rc != 0) {
        problem_set(&load->problem, PROBLEM_MODEL_REFUSED, "%s", load->error.text);
    } else if (!load->opened) {
        load->result = MODEL_UNCHANGED;
        load->served = served_from(&l->serving->models, load->path);
    } else if (check_place(l->serving, load, &load->problem) == 0) {
        load_publish(l, load);
    }
    if (load->result != MODEL_REFUSED && load->make_default) {
        int place = model_set_find_name(&l->serving->models, served_model_info(load->served)->name);
        model_loads_activate(l, (size_t)place);
    }
}

/* ---- one after the other -------------------------------------------------------------------- */

/* On a thread of the pool. */
static void load_work(uv_work_t *work)
{
    struct model_load *load = work->data;
    const struct serving *serving = load->loads->serving;
    load->rc = served_model_open_changed(&load->opened, load->path, serving->options,
                                         serving->n_workers, load->digest, &load->error);
    if (load->rc == 0 && load->opened) {
        load->rc = served_model_measure(load->opened, 0, MEASURE_SECONDS);
        if (load->rc == 0) {
            served_model_set_limit(load->opened, 1);
        } else {
            load->error.code = load->rc;
            load->error.text[0] = '\0';
            strncat(load->error.text, dn_strerror(load->rc), sizeof load->error.text - 1);
        }
    }
}

static void on_loaded(uv_work_t *work, int status)
{
    struct model_load *load = work->data;
    struct model_loads *l = load->loads;
    (void)status; /* never canceled */
    l->is_working = false;
    bool was_there = load->rc == 0 && !load->opened;
    if (l->life->state >= LIFE_DRAINING) {
        refuse_draining(load);
    } else if (was_there && !served_from(&l->serving->models, load->path)) {
        loads_next(l); /* unloaded meanwhile: nothing was kept of what was read, so read it again */
        return;
    } else {
        load_settle(l, load);
    }
    served_model_free(load->opened); /* what does not serve */
    load_end(l, load);
    loads_next(l);
}

static void loads_next(struct model_loads *l)
{
    struct model_load *load = TAILQ_FIRST(&l->queue);
    if (!load || l->is_working) {
        return;
    }
    const struct served_model *m = served_from(&l->serving->models, load->path);
    load->digest[0] = '\0';
    if (m) {
        memcpy(load->digest, served_model_info(m)->digest, sizeof load->digest);
    }
    l->is_working = true;
    l->work.data = load;
    uv_queue_work(l->loop, &l->work, load_work, on_loaded); /* fails without a callback */
}

void model_loads_init(struct model_loads *l)
{
    TAILQ_INIT(&l->queue);
}

static struct model_load *load_new(struct model_loads *l, const char *path)
{
    struct model_load *load = calloc(1, sizeof *load);
    char *copy = strdup(path);
    if (!load || !copy) {
        free(load);
        free(copy);
        return NULL;
    }
    load->loads = l;
    load->path = copy;
    TAILQ_INSERT_TAIL(&l->queue, load, link);
    l->n_queued++;
    return load;
}

struct model_load *model_loads_add(struct model_loads *l, const char *path, bool make_default,
                                   void (*ended)(struct model_load *load, void *arg), void *arg,
                                   struct problem *problem)
{
    if (l->life->state != LIFE_READY) {
        problem_set(problem, PROBLEM_DRAINING, "The server finishes its work and shuts down.");
        return NULL;
    }
    if (l->n_queued >= MODEL_LOADS_MAX) {
        problem_set(problem, PROBLEM_QUEUE_FULL, "%zu files of models wait to be read.",
                    l->n_queued);
        return NULL;
    }
    struct model_load *load = load_new(l, path);
    if (!load) {
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the request.");
        return NULL;
    }
    load->make_default = make_default;
    load->ended = ended;
    load->arg = arg;
    loads_next(l);
    return load;
}

void model_loads_reload(struct model_loads *l)
{
    const struct model_set *set = &l->serving->models;
    if (l->n_reloading > 0) {
        l->reload_again = true;
        return;
    }
    memset(l->reloaded, 0, sizeof l->reloaded);
    for (size_t i = 0; i < set->n_served; i++) {
        struct model_load *load = load_new(l, set->served[i]->path);
        if (!load) {
            log_event(l->log, LOG_ERROR, "model_refused", LOG_S("file", set->served[i]->path),
                      LOG_S("reason", "out of memory"));
            continue;
        }
        load->is_reload = true;
        l->n_reloading++;
    }
    loads_next(l);
}

void model_loads_stop(struct model_loads *l)
{
    struct model_load *load, *next;
    l->reload_again = false;
    for (load = TAILQ_FIRST(&l->queue); load; load = next) {
        next = TAILQ_NEXT(load, link);
        refuse_draining(load);
        if (load != TAILQ_FIRST(&l->queue) || !l->is_working) {
            load_end(l, load);
        } else if (load->ended) { /* its thread cannot be stopped */
            load->ended(load, load->arg);
            load->ended = NULL;
        }
    }
}
