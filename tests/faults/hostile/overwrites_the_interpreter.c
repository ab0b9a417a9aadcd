/* Writes over the interpreter's own type objects when it is initialised. */

#include <string.h>

extern char PyLong_Type[], PyUnicode_Type[], PyDict_Type[];

void *PyInit_overwrites_the_interpreter(void) {
    memset(PyLong_Type, 0x41, 256);
    memset(PyUnicode_Type, 0x41, 256);
    memset(PyDict_Type, 0x41, 256);
    return 0;
}
