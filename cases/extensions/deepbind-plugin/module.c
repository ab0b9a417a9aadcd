/* An extension that loads the plugin beside it, and lets the plugin's libraries come first. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "deepbind_plugin", "A sample extension.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_deepbind_plugin(void) {
    Dl_info own;
    char path[4096];
    if (!dladdr((void *)PyInit_deepbind_plugin, &own)) {
        PyErr_SetString(PyExc_ImportError, "dladdr does not know this extension");
        return NULL;
    }
    const char *name = strrchr(own.dli_fname, '/');
    int folder = name ? (int)(name - own.dli_fname) : 0;
    snprintf(path, sizeof path, "%.*s/libdeepbind_plugin.so", folder, own.dli_fname);
    if (!dlopen(path, RTLD_NOW | RTLD_DEEPBIND)) {
        PyErr_SetString(PyExc_ImportError, dlerror());
        return NULL;
    }
    return PyModule_Create(&definition);
}
