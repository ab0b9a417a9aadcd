/* The module that every sample is built from: one function, so that it really uses the C API.
 * MODULE is its name. With CALLS_HELPER it asks a library beside it, without it answers itself. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define CONCATENATE(a, b) a##b
#define INIT_FUNCTION(name) CONCATENATE(PyInit_, name)
#define QUOTE(name) #name
#define QUOTED(name) QUOTE(name)

#ifdef CALLS_HELPER
extern PyObject *helper_answer(void);
#else
static PyObject *helper_answer(void) { return PyLong_FromLong(42); }
#endif

static PyObject *answer(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    return helper_answer();
}

static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, "Return 42, made by the C API."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, QUOTED(MODULE), "A sample extension.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC INIT_FUNCTION(MODULE)(void) { return PyModule_Create(&definition); }
