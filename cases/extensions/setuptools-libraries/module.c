#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *answer(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    return PyLong_FromLong(42);
}

static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, "Return 42, made by the C API."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "setuptools_libraries",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_setuptools_libraries(void) { return PyModule_Create(&definition); }
