"""What onnxruntime, OpenVINO and a ModelConfig call the tensor types of KServe v2."""

from modelyard.datatypes import BY_NAME, Datatype

BF16_ONNX_ELEMENT_TYPE = 16  # onnx.TensorProto.BFLOAT16; the onnx package is not needed for one number
STRING_ONNX_ELEMENT_TYPE = 8  # onnx.TensorProto.STRING

BY_ONNXRUNTIME_TYPE = {
    "tensor(bool)": BY_NAME["BOOL"],
    "tensor(uint8)": BY_NAME["UINT8"],
    "tensor(uint16)": BY_NAME["UINT16"],
    "tensor(uint32)": BY_NAME["UINT32"],
    "tensor(uint64)": BY_NAME["UINT64"],
    "tensor(int8)": BY_NAME["INT8"],
    "tensor(int16)": BY_NAME["INT16"],
    "tensor(int32)": BY_NAME["INT32"],
    "tensor(int64)": BY_NAME["INT64"],
    "tensor(float16)": BY_NAME["FP16"],
    "tensor(bfloat16)": BY_NAME["BF16"],
    "tensor(float)": BY_NAME["FP32"],
    "tensor(double)": BY_NAME["FP64"],
    "tensor(string)": BY_NAME["BYTES"],
}

BY_OPENVINO_TYPE = {
    "boolean": BY_NAME["BOOL"],
    "u8": BY_NAME["UINT8"],
    "u16": BY_NAME["UINT16"],
    "u32": BY_NAME["UINT32"],
    "u64": BY_NAME["UINT64"],
    "i8": BY_NAME["INT8"],
    "i16": BY_NAME["INT16"],
    "i32": BY_NAME["INT32"],
    "i64": BY_NAME["INT64"],
    "f16": BY_NAME["FP16"],
    "bf16": BY_NAME["BF16"],
    "f32": BY_NAME["FP32"],
    "f64": BY_NAME["FP64"],
}


def config_name(datatype: Datatype) -> str:
    """As inference.DataType in a ModelConfig calls it."""
    return "TYPE_STRING" if datatype.name == "BYTES" else f"TYPE_{datatype.name}"
