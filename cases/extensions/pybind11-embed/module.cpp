#include <pybind11/pybind11.h>

PYBIND11_MODULE(pybind11_embed, module) {
    module.doc() = "A sample extension.";
    module.def("answer", [] { return 42; }, "Return 42, made by the C API.");
}
