use pyo3::prelude::*;

/// Return 42, made by the C API.
#[pyfunction]
fn answer() -> i32 {
    42
}

/// A sample extension.
#[pymodule]
fn pyo3_linked(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(answer, module)?)
}
