/* libFuzzer's entry points. The program is called by the name of its target: build.sh makes a link for each. */
#include "harness.h"

static target_function *target;

/* The interpreter leaves memory to the end of the process, so that leaks are not looked for; the core's own memory is
 * that of one call, and the campaign would end at libFuzzer's limit of RSS. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0:quarantine_size_mb=16"; }

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    target = target_of((*argv)[0]);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return target(data, size); }
