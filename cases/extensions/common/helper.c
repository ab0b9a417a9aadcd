/* A helper library that uses the C API itself, as ucxx's libucxx_python.so does. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *helper_answer(void) { return PyLong_FromLong(42); }
