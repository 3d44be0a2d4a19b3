/* Loads the extension modules as Python does, since it is at their import that they bind to each other, and takes the
 * address of a target out of them.
 *
 * build.sh defines PYTHON, the interpreter to be; MODULES, the folders to import from first; and SITE, whether its
 * site-packages are there as well.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "harness.h"

#include <string.h>

static void die(const char *what)
{
    if (PyErr_Occurred())
        PyErr_Print();
    fprintf(stderr, "%s\n", what);
    exit(2);
}

static void start_python(void)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.use_environment = 0;
    config.install_signal_handlers = 0;
    config.site_import = SITE;
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, PYTHON);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        die("Python does not start");
    if (PyRun_SimpleString("import sys; sys.path[:0] = '" MODULES "'.split(':')"))
        die("no folder of modules");
}

target_function *target_of(const char *name)
{
    if (!Py_IsInitialized())
        start_python();
    if (strrchr(name, '/'))
        name = strrchr(name, '/') + 1;
    PyObject *module = PyImport_ImportModule("targets");
    PyObject *all = module ? PyObject_GetAttrString(module, "TARGETS") : NULL;
    PyObject *address = all ? PyDict_GetItemString(all, name) : NULL;
    void *function = address ? PyLong_AsVoidPtr(address) : NULL;
    if (!function)
        die("no such target");
    target_function *target;
    memcpy(&target, &function, sizeof target);
    return target;
}
