/* As much of CPython's C API as the tests' own extensions use, with its binary interface of 3.11 to
   3.14. The machine that runs the tests need not have CPython's headers, and Debian's are in two
   places, of which a cross compiler knows one. */
#include <stddef.h>

typedef struct _object PyObject;
typedef struct _typeobject PyTypeObject;
typedef ptrdiff_t Py_ssize_t;

typedef struct {
    const char *ml_name;
    PyObject *(*ml_meth)(PyObject *, PyObject *);
    int ml_flags;
    const char *ml_doc;
} PyMethodDef;

struct PyModuleDef {
    struct {
        Py_ssize_t references;
        PyTypeObject *type;
        PyObject *(*m_init)(void);
        Py_ssize_t m_index;
        PyObject *m_copy;
    } m_base;
    const char *m_name;
    const char *m_doc;
    Py_ssize_t m_size;
    PyMethodDef *m_methods;
    void *m_slots, *m_traverse, *m_clear, *m_free;
};

#define PyModuleDef_HEAD_INIT {1, NULL, NULL, 0, NULL}
#define METH_NOARGS 4
#define PyMODINIT_FUNC __attribute__((visibility("default"))) PyObject *
#define PyModule_Create(definition) PyModule_Create2(definition, 1013)
#define Py_RETURN_NONE return &_Py_NoneStruct

extern PyObject _Py_NoneStruct;
extern PyTypeObject PyList_Type, PyType_Type;
extern int (*PyOS_InputHook)(void);
PyObject *PyLong_FromLong(long);
PyObject *PyModule_Create2(struct PyModuleDef *, int);
int PyModule_AddObject(PyObject *, const char *, PyObject *);
