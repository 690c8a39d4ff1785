//! What the reader asks of an ONNX file: a node's attributes, and the numbers of its constants.
//!
//! Nothing in a file is believed: a tensor's numbers are counted against its dims before they are used. Answers that
//! are no answer come back as a reason in words, which the reader puts to the node's name.

use std::collections::HashMap;

use candle_onnx::onnx::tensor_proto::{DataLocation, DataType};
use candle_onnx::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Why something can't be read, in words.
pub type Reason = String;

/// Constants by name: the file's initializers, and the constant nodes passed so far.
pub struct Constants<'a> {
    by_name: HashMap<&'a str, Constant<'a>>,
}

enum Constant<'a> {
    Tensor(&'a TensorProto),
    Floats(&'a [f32]),
    Ints(&'a [i64]),
}

impl<'a> Constants<'a> {
    pub fn of(graph: &'a GraphProto) -> Constants<'a> {
        let tensors = graph.initializer.iter();
        Constants { by_name: tensors.map(|t| (t.name.as_str(), Constant::Tensor(t))).collect() }
    }

    /// Adds the output of a `Constant` node.
    pub fn add(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        let [attribute] = node.attribute.as_slice() else {
            return Err(format!("a constant with {} attributes", node.attribute.len()));
        };
        let constant = match attribute.name.as_str() {
            "value" => Constant::Tensor(attribute.t.as_ref().ok_or("a constant without a tensor")?),
            "value_float" => Constant::Floats(std::slice::from_ref(&attribute.f)),
            "value_floats" => Constant::Floats(&attribute.floats),
            "value_int" => Constant::Ints(std::slice::from_ref(&attribute.i)),
            "value_ints" => Constant::Ints(&attribute.ints),
            other => return Err(format!("a constant given as `{other}`")),
        };
        self.by_name.insert(output(node)?, constant);
        Ok(())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Dims and numbers of a constant of floats.
    pub fn floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Reason> {
        let (dims, numbers) = match self.get(name)? {
            Constant::Tensor(tensor) => {
                let read = match DataType::try_from(tensor.data_type) {
                    Ok(DataType::Float) => numbers(tensor, &tensor.float_data, f32::from_le_bytes),
                    Ok(DataType::Double) => numbers(tensor, &tensor.double_data, f64::from_le_bytes)
                        .map(|(dims, numbers)| (dims, numbers.into_iter().map(|n| n as f32).collect())),
                    other => Err(format!("numbers of type {}", type_name(other))),
                };
                read.map_err(|reason| format!("constant `{name}`: {reason}"))?
            }
            Constant::Floats(floats) => (vec![floats.len()], floats.to_vec()),
            Constant::Ints(_) => return Err(format!("constant `{name}`: integers where floats belong")),
        };
        if numbers.iter().all(|number| number.is_finite()) {
            Ok((dims, numbers))
        } else {
            Err(format!("constant `{name}`: a number in it is not finite"))
        }
    }

    /// A constant of one float.
    pub fn float(&self, name: &str) -> Result<f32, Reason> {
        match self.floats(name)?.1.as_slice() {
            [number] => Ok(*number),
            numbers => Err(format!("constant `{name}`: {} numbers where one belongs", numbers.len())),
        }
    }

    /// A vector of this length.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, Reason> {
        let (dims, numbers) = self.floats(name)?;
        if dims == [len] { Ok(numbers) } else { Err(format!("constant `{name}`: dims {dims:?} where [{len}] belongs")) }
    }

    /// A constant of integers.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>, Reason> {
        match self.get(name)? {
            Constant::Tensor(tensor) => {
                let read = match DataType::try_from(tensor.data_type) {
                    Ok(DataType::Int64) => numbers(tensor, &tensor.int64_data, i64::from_le_bytes),
                    Ok(DataType::Int32) => numbers(tensor, &tensor.int32_data, i32::from_le_bytes)
                        .map(|(dims, numbers)| (dims, numbers.into_iter().map(i64::from).collect())),
                    other => Err(format!("numbers of type {}", type_name(other))),
                };
                Ok(read.map_err(|reason| format!("constant `{name}`: {reason}"))?.1)
            }
            Constant::Ints(ints) => Ok(ints.to_vec()),
            Constant::Floats(_) => Err(format!("constant `{name}`: floats where integers belong")),
        }
    }

    fn get(&self, name: &str) -> Result<&Constant<'a>, Reason> {
        self.by_name.get(name).ok_or_else(|| format!("`{name}` is not a constant"))
    }
}

/// A tensor's numbers, which lie in its bytes or in the field of their type.
fn numbers<T: Copy, const SIZE: usize>(
    tensor: &TensorProto,
    field: &[T],
    from_bytes: fn([u8; SIZE]) -> T,
) -> Result<(Vec<usize>, Vec<T>), Reason> {
    if tensor.data_location == DataLocation::External as i32 {
        return Err("its numbers lie in another file".into());
    }
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let wanted = dims.as_ref().and_then(|dims| dims.iter().try_fold(1usize, |a, &b| a.checked_mul(b)));
    let (Some(dims), Some(wanted)) = (dims, wanted) else {
        return Err(format!("impossible dims {:?}", tensor.dims));
    };
    let numbers: Vec<T> = if tensor.raw_data.is_empty() {
        field.to_vec()
    } else {
        let (whole, rest) = tensor.raw_data.as_chunks::<SIZE>();
        if !rest.is_empty() {
            return Err(format!("{} bytes, which is no whole number of {SIZE}", tensor.raw_data.len()));
        }
        whole.iter().map(|&bytes| from_bytes(bytes)).collect()
    };
    if numbers.len() == wanted {
        Ok((dims, numbers))
    } else {
        Err(format!("{} numbers for dims {:?}", numbers.len(), dims))
    }
}

fn type_name<E>(of: Result<DataType, E>) -> &'static str {
    of.map_or("unknown", |of| of.as_str_name())
}

/// A node's only output.
pub fn output(node: &NodeProto) -> Result<&str, Reason> {
    match node.output.as_slice() {
        [first, rest @ ..] if !first.is_empty() && rest.iter().all(String::is_empty) => Ok(first),
        outputs => Err(format!("{} outputs where one belongs", outputs.len())),
    }
}

/// A node's input, unless it is left out.
pub fn input(node: &NodeProto, index: usize) -> Option<&str> {
    node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
}

pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// An attribute of integers, which must be this many.
pub fn ints<const N: usize>(node: &NodeProto, name: &str) -> Result<Option<[i64; N]>, Reason> {
    let Some(attribute) = attribute(node, name) else { return Ok(None) };
    match attribute.ints.as_slice().try_into() {
        Ok(ints) => Ok(Some(ints)),
        Err(_) => Err(format!("{name} {:?}, where {N} numbers belong", attribute.ints)),
    }
}

/// An attribute of text.
pub fn text<'a>(node: &'a NodeProto, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    attribute(node, name).map(|attribute| String::from_utf8_lossy(&attribute.s))
}
