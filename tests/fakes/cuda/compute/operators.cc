// SPDX-License-Identifier: Apache-2.0
// Each operator that ATen has for CUDA tensors runs its CPU kernel over the same memory: the fake
// device's memory is host memory. Tensors keep the device cuda, so that everything above the
// operators takes the path of a GPU.
#include "tests/fakes/cuda/compute/operators.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/fakes/cuda/compute/flash_attention.h"

namespace trainerd::fakes::cuda {

at::Tensor OnHost(const at::Tensor& x) {
  if (!x.defined() || !x.is_cuda()) return x;
  return at::from_blob(x.data_ptr(), x.sizes(), x.strides(),
                       at::TensorOptions().dtype(x.scalar_type()).device(at::kCPU));
}

at::Tensor OnDevice(const at::Tensor& x, at::Device device) {
  if (!x.defined() || x.is_cuda()) return x;
  const at::Tensor dense = x.is_non_overlapping_and_dense() ? x : x.contiguous();
  at::Tensor result =
      at::empty_strided(dense.sizes(), dense.strides(), dense.options().device(device));
  if (dense.numel() > 0) std::memcpy(result.data_ptr(), dense.data_ptr(), dense.nbytes());
  return result;
}

namespace {

using Values = std::vector<c10::IValue>;

// What one call lowers: its tensors on the device, and their view on the host.
struct Lowered {
  struct Pair {
    at::Tensor device;
    at::Tensor host;
  };
  std::vector<Pair> pairs;

  at::Tensor Tensor(const at::Tensor& x, bool is_out) {
    if (!x.defined() || !x.is_cuda()) return x;
    // The CPU kernel gives an empty `out` its shape, which a view of foreign memory cannot take.
    const bool is_sized_by_kernel = is_out && x.numel() == 0;
    at::Tensor host =
        is_sized_by_kernel ? at::empty_strided({0}, {1}, x.options().device(at::kCPU)) : OnHost(x);
    pairs.push_back({x, host});
    return host;
  }

  c10::IValue Value(const c10::IValue& value, bool is_out) {
    if (value.isTensor()) return Tensor(value.toTensor(), is_out);
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& x : value.toTensorVector()) list.push_back(Tensor(x, is_out));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& x : value.toOptionalTensorVector()) {
        list.push_back(x.has_value() ? std::optional<at::Tensor>(Tensor(*x, is_out)) : x);
      }
      return list;
    }
    // A factory function: the tensor is created on the host first.
    if (value.isDevice() && value.toDevice().is_cuda()) return at::Device(at::kCPU);
    return value;
  }
};

bool IsWritten(const c10::Argument& argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

// The argument that `result` returns again (`self` of an in-place operator, `out`).
const c10::IValue* ReturnedArgument(const c10::FunctionSchema& schema, const Values& arguments,
                                    const c10::Argument& result) {
  if (!IsWritten(result)) return nullptr;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    if (IsWritten(argument) &&
        argument.alias_info()->beforeSets() == result.alias_info()->beforeSets()) {
      return &arguments[i];
    }
  }
  return nullptr;
}

// Puts what the CPU kernel wrote elsewhere (a resized `out`) into the tensor on the device.
c10::IValue WrittenBack(const at::Tensor& device, const at::Tensor& host) {
  if (device.is_cuda() && host.numel() > 0 && host.data_ptr() != device.data_ptr()) {
    device.resize_(host.sizes());
    std::memcpy(device.data_ptr(), host.contiguous().data_ptr(), host.nbytes());
  }
  return device;
}

at::Device DeviceOf(const Lowered& lowered) {
  return lowered.pairs.empty() ? at::Device(at::kCUDA, 0) : lowered.pairs.front().device.device();
}

c10::IValue Raised(const c10::IValue& value, const Lowered& lowered) {
  const at::Device device = DeviceOf(lowered);
  if (value.isTensor()) {
    for (const Lowered::Pair& pair : lowered.pairs) {
      if (value.toTensor().is_same(pair.host)) return pair.device;
    }
    return OnDevice(value.toTensor(), device);
  }
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& x : value.toTensorVector()) list.push_back(OnDevice(x, device));
    return list;
  }
  return value;
}

void RunOnHost(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const size_t count = schema.arguments().size();
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const Values arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  stack->erase(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  Lowered lowered;
  torch::jit::Stack host;
  for (size_t i = 0; i < count; ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    host.push_back(lowered.Value(arguments[i], IsWritten(argument) && argument.kwarg_only()));
  }
  // A copy to the host waits for the device, and fails if the device has failed.
  const bool reads_back = schema.name() == "aten::copy_" && !arguments[0].toTensor().is_cuda();
  if (reads_back || schema.name() == "aten::_local_scalar_dense") {
    C10_CUDA_CHECK(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream()));
  }
  op.callBoxed(&host);
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    const c10::IValue* argument = ReturnedArgument(schema, arguments, schema.returns()[i]);
    stack->push_back(argument == nullptr || !host[i].isTensor()
                         ? Raised(host[i], lowered)
                         : WrittenBack(argument->toTensor(), host[i].toTensor()));
  }
}

// out = beta × self + alpha × a·b with fp32 sums of bf16 products. The CPU has no such operator.
at::Tensor& AddmmDtypeOut(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b,
                          at::ScalarType, const at::Scalar& beta, const at::Scalar& alpha,
                          at::Tensor& out) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const at::Tensor product = at::mm(OnHost(a).to(at::kFloat), OnHost(b).to(at::kFloat));
  OnHost(out).copy_(OnHost(self) * beta + product * alpha);
  return out;
}

// They create or resize memory of the device, which stays with LibTorch's allocator.
const std::set<std::string>& Kept() {
  static const auto* kept = new std::set<std::string>{
      "empty.memory_format", "empty_strided", "resize_",
      "_resize_output_",     "set_",          "set_.source_Storage",
      "set_.source_Tensor",  "record_stream", "set_.source_Storage_storage_offset",
      "is_pinned",           "_pin_memory",   "is_set_to",
      "_efficientzerotensor"};
  return *kept;
}

class NoWarnings : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};

bool ReturnsView(const c10::FunctionSchema& schema) {
  for (const c10::Argument& result : schema.returns()) {
    if (result.alias_info() != nullptr && !result.alias_info()->isWrite()) return true;
  }
  return false;
}

// The operators that have a kernel for CUDA, without the prefix "aten::".
std::vector<std::string> CudaOperators() {
  std::vector<std::string> names;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (!op.has_value() || !op->hasSchema() || ReturnsView(op->schema())) continue;
    std::string full = name.name.substr(6);
    if (!name.overload_name.empty()) full += "." + name.overload_name;
    // copy_ has one kernel for all devices.
    const bool has_kernel = full == "copy_" || op->hasKernelForDispatchKey(c10::DispatchKey::CUDA);
    if (has_kernel && Kept().count(full) == 0) names.push_back(full);
  }
  return names;
}

}  // namespace

void ReplaceOperators() {
  // LibTorch warns of each operator that is replaced.
  NoWarnings handler;
  const c10::WarningUtils::WarningHandlerGuard no_warnings(&handler);
  // Lives as long as the process: its destructor would remove the operators.
  static auto* library =
      new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  for (const std::string& name : CudaOperators()) {
    if (name == "addmm.dtype_out" || name.rfind("_flash_attention_", 0) == 0) continue;
    library->impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&RunOnHost>());
  }
  library->impl("addmm.dtype_out", &AddmmDtypeOut);
  library->impl("_flash_attention_forward", &FlashAttentionForward);
  library->impl("_flash_attention_backward", &FlashAttentionBackward);
}

}  // namespace trainerd::fakes::cuda
