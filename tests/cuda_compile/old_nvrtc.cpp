// SPDX-License-Identifier: Apache-2.0
// A library that says it is NVRTC 11.8, as machines with an old CUDA toolkit hold one. Nothing but its version is asked
// for.
#define OLD_NVRTC_EXPORT extern "C" __attribute__((visibility("default")))
#define OLD_NVRTC_UNUSED(name) \
  OLD_NVRTC_EXPORT int name() { return 1; }

OLD_NVRTC_EXPORT int nvrtcVersion(int* major, int* minor) {
  *major = 11;
  *minor = 8;
  return 0;
}
OLD_NVRTC_EXPORT const char* nvrtcGetErrorString(int) { return "too old"; }
OLD_NVRTC_UNUSED(nvrtcCreateProgram)
OLD_NVRTC_UNUSED(nvrtcDestroyProgram)
OLD_NVRTC_UNUSED(nvrtcCompileProgram)
OLD_NVRTC_UNUSED(nvrtcGetProgramLogSize)
OLD_NVRTC_UNUSED(nvrtcGetProgramLog)
OLD_NVRTC_UNUSED(nvrtcGetCUBINSize)
OLD_NVRTC_UNUSED(nvrtcGetCUBIN)
OLD_NVRTC_UNUSED(nvrtcGetPTXSize)
OLD_NVRTC_UNUSED(nvrtcGetPTX)
OLD_NVRTC_UNUSED(nvrtcGetNumSupportedArchs)
OLD_NVRTC_UNUSED(nvrtcGetSupportedArchs)
