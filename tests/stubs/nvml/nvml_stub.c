/* A stand-in for libnvidia-ml.so.1: it plays the GPUs that the file named by NVML_STUB_STATE tells of.
 *
 * The state is read again at each call, so that a test changes the GPUs of a running agent by replacing the file.
 * It has a line `key=value` for each fact; `[gpu]` begins a GPU, `[mig]` a MIG device of the GPU above it:
 *
 *     driver=550.54.14     init=0 (what nvmlInit returns)     hang=1 (calls do not return while this stands)
 *     [gpu] or [mig]: uuid= name= memory= reserved= (of that, by the driver) used=
 *                     proc=PID,BYTES,SM_PERCENT (any number of them)
 *     [gpu]: cc=8.0 bus=00000000:3B:00.0 mig=-1|0|1 util= ecc= remap=CORRECTED,UNCORRECTED,PENDING,FAILED
 *            recovery=ACTION (-1: not told) compute_mode= fails=CODE (what every call on it returns)
 *            mig_error=CODE (what asking for its MIG mode returns)
 *     [mig]: gi= ci= slices=GPU_INSTANCE,COMPUTE_INSTANCE
 *
 * Events are lines "UUID TYPE DATA GI CI" of the file NVML_STUB_STATE.events, told once to each event set made before.
 * Calls that take or give back something are told in NVML_STUB_STATE.calls.
 * A function `f` is left out by -DNO_f, so that looking it up fails as with a driver that lacks it.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 16
enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
enum { INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };
#define NO_INSTANCE 0xFFFFFFFFu

typedef unsigned long long u64;
typedef struct { unsigned pid, sm; u64 memory; } Process;
typedef struct Device {
    char uuid[96], name[96], bus[32];
    u64 memory, reserved, used, ecc;
    int major, minor, mig, util, recovery, fails, compute_mode, mig_error;
    unsigned remap[4], gi, ci, slices[2];
    struct Device *parent;
    int n_processes;
    Process processes[MOST];
} Device;

/* A handle is a device's place, counted from 1, so that it stays good while the state changes. */
typedef struct Opaque *Handle;

/* Each thread reads the state for itself: none sees what another has half read. */
static __thread Device devices[MOST];
static __thread int n_devices, init_result, is_hanging;
static __thread char driver[80];
static atomic_int n_inits;

static const char *state_path(void) {
    const char *path = getenv("NVML_STUB_STATE");
    return path ? path : "/nonexistent";
}

static void path_with(char *out, size_t size, const char *suffix) { snprintf(out, size, "%s%s", state_path(), suffix); }

static void note(const char *what) {
    char path[4096];
    path_with(path, sizeof path, ".calls");
    FILE *file = fopen(path, "a");
    if (!file) return;
    fprintf(file, "%d %s\n", (int)getpid(), what);
    fclose(file);
}

static void set_fact(Device *d, const char *key, const char *value) {
    if (!strcmp(key, "uuid")) snprintf(d->uuid, sizeof d->uuid, "%s", value);
    else if (!strcmp(key, "name")) snprintf(d->name, sizeof d->name, "%s", value);
    else if (!strcmp(key, "bus")) snprintf(d->bus, sizeof d->bus, "%s", value);
    else if (!strcmp(key, "memory")) d->memory = strtoull(value, 0, 10);
    else if (!strcmp(key, "used")) d->used = strtoull(value, 0, 10);
    else if (!strcmp(key, "ecc")) d->ecc = strtoull(value, 0, 10);
    else if (!strcmp(key, "cc")) sscanf(value, "%d.%d", &d->major, &d->minor);
    else if (!strcmp(key, "mig")) d->mig = atoi(value);
    else if (!strcmp(key, "util")) d->util = atoi(value);
    else if (!strcmp(key, "recovery")) d->recovery = atoi(value);
    else if (!strcmp(key, "reserved")) d->reserved = strtoull(value, 0, 10);
    else if (!strcmp(key, "slices")) sscanf(value, "%u,%u", &d->slices[0], &d->slices[1]);
    else if (!strcmp(key, "fails")) d->fails = atoi(value);
    else if (!strcmp(key, "compute_mode")) d->compute_mode = atoi(value);
    else if (!strcmp(key, "mig_error")) d->mig_error = atoi(value);
    else if (!strcmp(key, "gi")) d->gi = (unsigned)atoi(value);
    else if (!strcmp(key, "ci")) d->ci = (unsigned)atoi(value);
    else if (!strcmp(key, "remap"))
        sscanf(value, "%u,%u,%u,%u", &d->remap[0], &d->remap[1], &d->remap[2], &d->remap[3]);
    else if (!strcmp(key, "proc") && d->n_processes < MOST) {
        Process *p = &d->processes[d->n_processes++];
        sscanf(value, "%u,%llu,%u", &p->pid, &p->memory, &p->sm);
    }
}

static Device *begin_device(Device *parent) {
    if (n_devices == MOST) return 0;
    Device *d = &devices[n_devices++];
    memset(d, 0, sizeof *d);
    d->parent = parent;
    d->mig = d->recovery = -1;
    d->gi = d->ci = NO_INSTANCE;
    return d;
}

static void load_once(void) {
    char line[512];
    Device *current = 0, *gpu = 0;
    FILE *file = fopen(state_path(), "r");
    n_devices = init_result = is_hanging = 0;
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, '=');
        if (!strcmp(line, "[gpu]")) current = gpu = begin_device(0);
        else if (!strcmp(line, "[mig]")) current = begin_device(gpu);
        else if (value) {
            *value++ = 0;
            if (!strcmp(line, "driver")) snprintf(driver, sizeof driver, "%s", value);
            else if (!strcmp(line, "init")) init_result = atoi(value);
            else if (!strcmp(line, "hang")) is_hanging = atoi(value);
            else if (current) set_fact(current, line, value);
        }
    }
    fclose(file);
}

static void load(void) {
    for (load_once(); is_hanging; load_once()) usleep(20000);
}

static int enter(void) { load(); return n_inits ? OK : UNINITIALIZED; }

/* Of a call on one device; a MIG device goes as its GPU goes. */
static int enter_device(Handle handle, Device **out) {
    int result = enter();
    uintptr_t place = (uintptr_t)handle;
    if (result) return result;
    if (!place || place > (uintptr_t)n_devices) return INVALID_ARGUMENT;
    *out = &devices[place - 1];
    return (*out)->parent && (*out)->parent->fails ? (*out)->parent->fails : (*out)->fails;
}

static Handle handle_of(Device *d) { return (Handle)(uintptr_t)(d ? d - devices + 1 : 0); }

static int give_text(char *out, unsigned size, const char *text) {
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return OK;
}

#define TRY(call) do { int result_ = (call); if (result_) return result_; } while (0)
#define ENTER(handle) Device *d = 0; TRY(enter_device(handle, &d))

#ifndef NO_nvmlInitWithFlags
int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    load();
    if (init_result) return init_result;
    n_inits++;
    note("init");
    return OK;
}
#endif

int nvmlShutdown(void) {
    if (!n_inits) return UNINITIALIZED;
    n_inits--;
    note("shutdown");
    return OK;
}

const char *nvmlErrorString(int code) {
    static char text[40];
    snprintf(text, sizeof text, "error %d of the stand-in", code);
    return text;
}

#ifndef NO_nvmlSystemGetDriverVersion
int nvmlSystemGetDriverVersion(char *out, unsigned size) { TRY(enter()); return give_text(out, size, driver); }
#endif

int nvmlDeviceGetCount_v2(unsigned *count) {
    TRY(enter());
    *count = 0;
    for (int i = 0; i < n_devices; i++) *count += !devices[i].parent;
    return OK;
}

static Device *find_child(Device *parent, unsigned index) {
    for (int i = 0; i < n_devices; i++)
        if (devices[i].parent == parent && !index--) return &devices[i];
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle *out) {
    TRY(enter());
    Device *d = find_child(0, index);
    if (!d) return INVALID_ARGUMENT;
    *out = handle_of(d);
    return d->fails;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Handle *out) {
    TRY(enter());
    for (int i = 0; i < n_devices; i++)
        if (!strcmp(devices[i].uuid, uuid)) { *out = handle_of(&devices[i]); return devices[i].fails; }
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(Handle handle, unsigned *out) {
    ENTER(handle);
    for (*out = 0; find_child(0, *out) != d; ++*out)
        if (!find_child(0, *out)) return NOT_SUPPORTED;
    return OK;
}

int nvmlDeviceGetUUID(Handle handle, char *out, unsigned size) { ENTER(handle); return give_text(out, size, d->uuid); }
int nvmlDeviceGetName(Handle handle, char *out, unsigned size) { ENTER(handle); return give_text(out, size, d->name); }

typedef struct { u64 total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Handle handle, Memory *out) {
    ENTER(handle);
    u64 used = d->used + d->reserved;
    *out = (Memory){d->memory, d->memory - used, used};
    return OK;
}

typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
#ifndef NO_nvmlDeviceGetMemoryInfo_v2
int nvmlDeviceGetMemoryInfo_v2(Handle handle, MemoryV2 *out) {
    ENTER(handle);
    *out = (MemoryV2){out->version, d->memory, d->reserved, d->memory - d->used - d->reserved, d->used};
    return OK;
}
#endif

#ifndef NO_nvmlDeviceGetCudaComputeCapability
int nvmlDeviceGetCudaComputeCapability(Handle handle, int *major, int *minor) {
    ENTER(handle);
    if (d->parent) d = d->parent;
    *major = d->major;
    *minor = d->minor;
    return OK;
}
#endif

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char busId[32]; } PciInfo;
#ifndef NO_nvmlDeviceGetPciInfo_v3
int nvmlDeviceGetPciInfo_v3(Handle handle, PciInfo *out) {
    ENTER(handle);
    memset(out, 0, sizeof *out);
    strcpy(out->busId, d->parent ? d->parent->bus : d->bus);
    return OK;
}
#endif

#ifndef NO_nvmlDeviceGetComputeMode
int nvmlDeviceGetComputeMode(Handle handle, int *out) { ENTER(handle); *out = d->compute_mode; return OK; }
#endif

#ifndef NO_nvmlDeviceGetMigMode
int nvmlDeviceGetMigMode(Handle handle, unsigned *current, unsigned *pending) {
    ENTER(handle);
    if (d->mig_error) return d->mig_error;
    if (d->parent || d->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)d->mig;
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(Handle handle, unsigned *out) {
    ENTER(handle);
    *out = d->mig < 0 ? 0 : 7;
    return OK;
}
int nvmlDeviceGetMigDeviceHandleByIndex(Handle handle, unsigned index, Handle *out) {
    ENTER(handle);
    if (index >= 7) return INVALID_ARGUMENT;
    return (*out = handle_of(find_child(d, index))) ? OK : NOT_FOUND;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Handle handle, Handle *out) {
    ENTER(handle);
    return (*out = handle_of(d->parent)) ? OK : NOT_FOUND;
}
int nvmlDeviceGetGpuInstanceId(Handle handle, unsigned *out) {
    ENTER(handle);
    *out = d->gi;
    return d->parent ? OK : NOT_SUPPORTED;
}
int nvmlDeviceGetComputeInstanceId(Handle handle, unsigned *out) {
    ENTER(handle);
    *out = d->ci;
    return d->parent ? OK : NOT_SUPPORTED;
}
#endif

typedef struct {
    unsigned sms, copy, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices;
    u64 memory_mib;
} Attributes;
#ifndef NO_nvmlDeviceGetAttributes_v2
int nvmlDeviceGetAttributes_v2(Handle handle, Attributes *out) {
    ENTER(handle);
    if (!d->parent) return NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    out->gpu_slices = d->slices[0];
    out->compute_slices = d->slices[1];
    out->memory_mib = d->memory >> 20;
    return OK;
}
#endif

typedef struct { unsigned gpu, memory; } Utilization;
#ifndef NO_nvmlDeviceGetUtilizationRates
int nvmlDeviceGetUtilizationRates(Handle handle, Utilization *out) {
    ENTER(handle);
    if (d->parent || d->mig > 0) return NOT_SUPPORTED;
    *out = (Utilization){(unsigned)d->util, 0};
    return OK;
}
#endif

typedef struct { unsigned pid; u64 memory; unsigned gi, ci; } ProcessInfo;
static int list_processes(Handle handle, unsigned *count, ProcessInfo *out) {
    ENTER(handle);
    unsigned room = *count;
    *count = (unsigned)d->n_processes;
    if (*count > room || (*count && !out)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++)
        out[i] = (ProcessInfo){d->processes[i].pid, d->processes[i].memory, d->gi, d->ci};
    return OK;
}
#ifndef NO_nvmlDeviceGetComputeRunningProcesses_v3
int nvmlDeviceGetComputeRunningProcesses_v3(Handle handle, unsigned *count, ProcessInfo *out) {
    return list_processes(handle, count, out);
}
#endif
#ifndef NO_nvmlDeviceGetComputeRunningProcesses_v2
int nvmlDeviceGetComputeRunningProcesses_v2(Handle handle, unsigned *count, ProcessInfo *out) {
    return list_processes(handle, count, out);
}
#endif
#ifndef NO_nvmlDeviceGetMPSComputeRunningProcesses_v3
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Handle handle, unsigned *count, ProcessInfo *out) {
    return list_processes(handle, count, out);
}
#endif

typedef struct { unsigned pid; u64 time; unsigned sm, memory, encoder, decoder; } Sample;
#ifndef NO_nvmlDeviceGetProcessUtilization
int nvmlDeviceGetProcessUtilization(Handle handle, Sample *out, unsigned *count, u64 since) {
    ENTER(handle);
    if (d->parent || d->mig > 0) return NOT_SUPPORTED;
    if (!d->n_processes) return NOT_FOUND;
    if (!out) { *count = (unsigned)d->n_processes; return INSUFFICIENT_SIZE; }
    for (int i = 0; i < d->n_processes; i++)
        out[i] = (Sample){d->processes[i].pid, since + 1000, d->processes[i].sm, 0, 0, 0};
    *count = (unsigned)d->n_processes;
    return OK;
}
#endif

#ifndef NO_nvmlDeviceGetTotalEccErrors
int nvmlDeviceGetTotalEccErrors(Handle handle, int type, int counter, u64 *out) {
    ENTER(handle);
    (void)counter;
    *out = type == 1 ? d->ecc : 0;
    return OK;
}
#endif

#ifndef NO_nvmlDeviceGetRemappedRows
int nvmlDeviceGetRemappedRows(
    Handle handle, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed
) {
    ENTER(handle);
    *corrected = d->remap[0];
    *uncorrected = d->remap[1];
    *pending = d->remap[2];
    *failed = d->remap[3];
    return OK;
}
#endif

/* Of all fields only the recovery action is told. */
typedef struct {
    unsigned field, scope;
    long long time, latency;
    int type, result;
    union { unsigned number; u64 room; } value;
} Field;
#ifndef NO_nvmlDeviceGetFieldValues
int nvmlDeviceGetFieldValues(Handle handle, int count, Field *fields) {
    ENTER(handle);
    for (int i = 0; i < count; i++) {
        int is_told = fields[i].field == 230 && d->recovery >= 0;
        fields[i].result = is_told ? OK : NOT_SUPPORTED;
        fields[i].value.number = is_told ? (unsigned)d->recovery : 0;
    }
    return OK;
}
#endif

typedef struct { long position; u64 types[MOST]; } EventSet;
typedef struct { Handle device; u64 type, data; unsigned gi, ci; } Event;

#ifndef NO_nvmlEventSetCreate
int nvmlEventSetCreate(EventSet **out) {
    char path[4096];
    TRY(enter());
    *out = calloc(1, sizeof **out);
    path_with(path, sizeof path, ".events");
    FILE *file = fopen(path, "r");
    if (file) { fseek(file, 0, SEEK_END); (*out)->position = ftell(file); fclose(file); }
    note("create event set");
    return OK;
}
#endif

int nvmlEventSetFree(EventSet *set) { free(set); note("free event set"); return OK; }

int nvmlDeviceGetSupportedEventTypes(Handle handle, u64 *out) { ENTER(handle); *out = 0x2 | 0x8; return OK; }

int nvmlDeviceRegisterEvents(Handle handle, u64 types, EventSet *set) {
    ENTER(handle);
    if (types & ~(u64)(0x2 | 0x8)) return NOT_SUPPORTED;
    set->types[d - devices] |= types;
    return OK;
}

/* The next line of the events' file, if it is whole; told only where its device was registered for it. */
static int read_event(EventSet *set, Event *out) {
    char path[4096], line[512], uuid[96];
    path_with(path, sizeof path, ".events");
    FILE *file = fopen(path, "r");
    int is_told = 0;
    if (!file) return 0;
    fseek(file, set->position, SEEK_SET);
    while (!is_told && fgets(line, sizeof line, file) && strchr(line, '\n')) {
        set->position = ftell(file);
        if (sscanf(line, "%95s %llu %llu %u %u", uuid, &out->type, &out->data, &out->gi, &out->ci) != 5) continue;
        for (int i = 0; i < n_devices && !is_told; i++) {
            out->device = handle_of(&devices[i]);
            is_told = !strcmp(uuid, devices[i].uuid) && (set->types[i] & out->type);
        }
    }
    fclose(file);
    return is_told;
}

static int wait_event(EventSet *set, Event *out, unsigned timeout_ms) {
    memset(out, 0, sizeof *out);
    for (unsigned waited = 0;; waited += 10) {
        TRY(enter());
        if (read_event(set, out)) return OK;
        if (waited >= timeout_ms) return TIMEOUT;
        usleep(10000);
    }
}

#ifndef NO_nvmlEventSetWait_v2
int nvmlEventSetWait_v2(EventSet *set, Event *out, unsigned timeout_ms) { return wait_event(set, out, timeout_ms); }
#endif

/* Of the first version, which knows no MIG: it does not touch the instances. */
#ifndef NO_nvmlEventSetWait
typedef struct { Handle device; u64 type, data; } EventV1;
int nvmlEventSetWait(EventSet *set, EventV1 *out, unsigned timeout_ms) {
    Event event;
    int result = wait_event(set, &event, timeout_ms);
    *out = (EventV1){event.device, event.type, event.data};
    return result;
}
#endif
