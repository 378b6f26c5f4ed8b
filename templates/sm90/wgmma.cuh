// SPDX-License-Identifier: Apache-2.0
// Warpgroup matrix multiply-accumulate: 64 x N x 16 steps on bf16 or fp16 with fp32 accumulators, N any multiple of 8
// up to 256.
//
// Accumulator layout of thread t of the warpgroup: register 4 j + 2 i + e holds row 16 (t / 32) + (t % 32) / 4 + 8 i,
// column 8 j + 2 (t % 4) + e. Packed in pairs, that is also the layout of a register A operand of 16 columns.
//
// WGMMA is asynchronous: the compiler sees results as ready when the instruction is issued. fence_registers keeps its
// hands off the registers until the wait before it has happened.
#pragma once

#include "sm90/descriptors.cuh"

namespace attnc::sm90 {

// Orders this warpgroup's register writes before the WGMMAs that follow.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most `pending` of the committed groups are still running.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

template <int count>
__device__ __forceinline__ void fence_registers(float (&registers)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

template <int count>
__device__ __forceinline__ void fence_registers(uint32 (&registers)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}

// Placed after the wait for the WGMMAs that read these registers as A operand. ptxas (before 13.3, at least) takes them
// for free once the instruction is issued and lets other values in while it still reads; an empty asm does not reach
// ptxas, so it takes a use that does. `never` is a run-time value that is false.
template <int count>
__device__ __forceinline__ void keep_operands(const uint32 (&registers)[count], bool never, uint32* unused) {
  if (never) {
    uint32 mixed = 0;
#pragma unroll
    for (int i = 0; i < count; ++i) mixed ^= registers[i];
    *reinterpret_cast<volatile uint32*>(unused) = mixed;
  }
}

// d (+)= A B^T for one reduction step of 16; both operands K-major in shared memory.
template <int n, bool is_bf16, bool accumulate>
struct WgmmaShared;

// d = A B, or d += A B if `accumulate`, for one reduction step of 16; A in registers, B MN-major in shared memory.
template <int n, bool is_bf16>
struct WgmmaRegister;

// clang-format off
#define ATTNC_D0 "{%0,%1,%2,%3"
#define ATTNC_D1 ATTNC_D0 ",%4,%5,%6,%7"
#define ATTNC_D2 ATTNC_D1 ",%8,%9,%10,%11"
#define ATTNC_D3 ATTNC_D2 ",%12,%13,%14,%15"
#define ATTNC_D4 ATTNC_D3 ",%16,%17,%18,%19"
#define ATTNC_D5 ATTNC_D4 ",%20,%21,%22,%23"
#define ATTNC_D6 ATTNC_D5 ",%24,%25,%26,%27"
#define ATTNC_D7 ATTNC_D6 ",%28,%29,%30,%31"
#define ATTNC_D8 ATTNC_D7 ",%32,%33,%34,%35"
#define ATTNC_D9 ATTNC_D8 ",%36,%37,%38,%39"
#define ATTNC_D10 ATTNC_D9 ",%40,%41,%42,%43"
#define ATTNC_D11 ATTNC_D10 ",%44,%45,%46,%47"
#define ATTNC_D12 ATTNC_D11 ",%48,%49,%50,%51"
#define ATTNC_D13 ATTNC_D12 ",%52,%53,%54,%55"
#define ATTNC_D14 ATTNC_D13 ",%56,%57,%58,%59"
#define ATTNC_D15 ATTNC_D14 ",%60,%61,%62,%63"
#define ATTNC_D16 ATTNC_D15 ",%64,%65,%66,%67"
#define ATTNC_D17 ATTNC_D16 ",%68,%69,%70,%71"
#define ATTNC_D18 ATTNC_D17 ",%72,%73,%74,%75"
#define ATTNC_D19 ATTNC_D18 ",%76,%77,%78,%79"
#define ATTNC_D20 ATTNC_D19 ",%80,%81,%82,%83"
#define ATTNC_D21 ATTNC_D20 ",%84,%85,%86,%87"
#define ATTNC_D22 ATTNC_D21 ",%88,%89,%90,%91"
#define ATTNC_D23 ATTNC_D22 ",%92,%93,%94,%95"
#define ATTNC_D24 ATTNC_D23 ",%96,%97,%98,%99"
#define ATTNC_D25 ATTNC_D24 ",%100,%101,%102,%103"
#define ATTNC_D26 ATTNC_D25 ",%104,%105,%106,%107"
#define ATTNC_D27 ATTNC_D26 ",%108,%109,%110,%111"
#define ATTNC_D28 ATTNC_D27 ",%112,%113,%114,%115"
#define ATTNC_D29 ATTNC_D28 ",%116,%117,%118,%119"
#define ATTNC_D30 ATTNC_D29 ",%120,%121,%122,%123"
#define ATTNC_D31 ATTNC_D30 ",%124,%125,%126,%127"
#define ATTNC_F0 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define ATTNC_F1 ATTNC_F0, "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define ATTNC_F2 ATTNC_F1, "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])
#define ATTNC_F3 ATTNC_F2, "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define ATTNC_F4 ATTNC_F3, "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])
#define ATTNC_F5 ATTNC_F4, "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define ATTNC_F6 ATTNC_F5, "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27])
#define ATTNC_F7 ATTNC_F6, "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define ATTNC_F8 ATTNC_F7, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
#define ATTNC_F9 ATTNC_F8, "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
#define ATTNC_F10 ATTNC_F9, "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43])
#define ATTNC_F11 ATTNC_F10, "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define ATTNC_F12 ATTNC_F11, "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51])
#define ATTNC_F13 ATTNC_F12, "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
#define ATTNC_F14 ATTNC_F13, "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59])
#define ATTNC_F15 ATTNC_F14, "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define ATTNC_F16 ATTNC_F15, "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67])
#define ATTNC_F17 ATTNC_F16, "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
#define ATTNC_F18 ATTNC_F17, "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75])
#define ATTNC_F19 ATTNC_F18, "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define ATTNC_F20 ATTNC_F19, "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83])
#define ATTNC_F21 ATTNC_F20, "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
#define ATTNC_F22 ATTNC_F21, "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91])
#define ATTNC_F23 ATTNC_F22, "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define ATTNC_F24 ATTNC_F23, "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99])
#define ATTNC_F25 ATTNC_F24, "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
#define ATTNC_F26 ATTNC_F25, "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107])
#define ATTNC_F27 ATTNC_F26, "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define ATTNC_F28 ATTNC_F27, "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115])
#define ATTNC_F29 ATTNC_F28, "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
#define ATTNC_F30 ATTNC_F29, "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123])
#define ATTNC_F31 ATTNC_F30, "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

// N, its last group of four registers, and the numbers of the operands that follow the accumulators.
#define ATTNC_WGMMA(N, G, I0, I1, I2, I3, I4, I5)                                                                      \
  template <bool is_bf16, bool accumulate>                                                                             \
  struct WgmmaShared<N, is_bf16, accumulate> {                                                                         \
    static __device__ __forceinline__ void run(float (&d)[N / 2], uint64 a, uint64 b) {                                \
      if constexpr (is_bf16) {                                                                                         \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 " ATTNC_D##G "}, %" #I0 ", %" #I1       \
                     ", %" #I2 ", 1, 1, 0, 0;" : ATTNC_F##G : "l"(a), "l"(b), "n"(accumulate ? 1 : 0));                \
      } else {                                                                                                         \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 " ATTNC_D##G "}, %" #I0 ", %" #I1         \
                     ", %" #I2 ", 1, 1, 0, 0;" : ATTNC_F##G : "l"(a), "l"(b), "n"(accumulate ? 1 : 0));                \
      }                                                                                                                \
    }                                                                                                                  \
  };                                                                                                                   \
  template <bool is_bf16>                                                                                              \
  struct WgmmaRegister<N, is_bf16> {                                                                                   \
    static __device__ __forceinline__ void run(float (&d)[N / 2], const uint32* a, uint64 b, bool accumulate = true) { \
      if constexpr (is_bf16) {                                                                                         \
        asm volatile("{\n.reg .pred sum;\nsetp.ne.b32 sum, %" #I5 ", 0;\n"                                             \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 " ATTNC_D##G "}, {%" #I0 ", %" #I1      \
                     ", %" #I2 ", %" #I3 "}, %" #I4 ", sum, 1, 1, 1;\n}"                                               \
                     : ATTNC_F##G : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate ? 1 : 0));      \
      } else {                                                                                                         \
        asm volatile("{\n.reg .pred sum;\nsetp.ne.b32 sum, %" #I5 ", 0;\n"                                             \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 " ATTNC_D##G "}, {%" #I0 ", %" #I1        \
                     ", %" #I2 ", %" #I3 "}, %" #I4 ", sum, 1, 1, 1;\n}"                                               \
                     : ATTNC_F##G : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate ? 1 : 0));      \
      }                                                                                                                \
    }                                                                                                                  \
  };

ATTNC_WGMMA(8, 0, 4, 5, 6, 7, 8, 9)
ATTNC_WGMMA(16, 1, 8, 9, 10, 11, 12, 13)
ATTNC_WGMMA(24, 2, 12, 13, 14, 15, 16, 17)
ATTNC_WGMMA(32, 3, 16, 17, 18, 19, 20, 21)
ATTNC_WGMMA(40, 4, 20, 21, 22, 23, 24, 25)
ATTNC_WGMMA(48, 5, 24, 25, 26, 27, 28, 29)
ATTNC_WGMMA(56, 6, 28, 29, 30, 31, 32, 33)
ATTNC_WGMMA(64, 7, 32, 33, 34, 35, 36, 37)
ATTNC_WGMMA(72, 8, 36, 37, 38, 39, 40, 41)
ATTNC_WGMMA(80, 9, 40, 41, 42, 43, 44, 45)
ATTNC_WGMMA(88, 10, 44, 45, 46, 47, 48, 49)
ATTNC_WGMMA(96, 11, 48, 49, 50, 51, 52, 53)
ATTNC_WGMMA(104, 12, 52, 53, 54, 55, 56, 57)
ATTNC_WGMMA(112, 13, 56, 57, 58, 59, 60, 61)
ATTNC_WGMMA(120, 14, 60, 61, 62, 63, 64, 65)
ATTNC_WGMMA(128, 15, 64, 65, 66, 67, 68, 69)
ATTNC_WGMMA(136, 16, 68, 69, 70, 71, 72, 73)
ATTNC_WGMMA(144, 17, 72, 73, 74, 75, 76, 77)
ATTNC_WGMMA(152, 18, 76, 77, 78, 79, 80, 81)
ATTNC_WGMMA(160, 19, 80, 81, 82, 83, 84, 85)
ATTNC_WGMMA(168, 20, 84, 85, 86, 87, 88, 89)
ATTNC_WGMMA(176, 21, 88, 89, 90, 91, 92, 93)
ATTNC_WGMMA(184, 22, 92, 93, 94, 95, 96, 97)
ATTNC_WGMMA(192, 23, 96, 97, 98, 99, 100, 101)
ATTNC_WGMMA(200, 24, 100, 101, 102, 103, 104, 105)
ATTNC_WGMMA(208, 25, 104, 105, 106, 107, 108, 109)
ATTNC_WGMMA(216, 26, 108, 109, 110, 111, 112, 113)
ATTNC_WGMMA(224, 27, 112, 113, 114, 115, 116, 117)
ATTNC_WGMMA(232, 28, 116, 117, 118, 119, 120, 121)
ATTNC_WGMMA(240, 29, 120, 121, 122, 123, 124, 125)
ATTNC_WGMMA(248, 30, 124, 125, 126, 127, 128, 129)
ATTNC_WGMMA(256, 31, 128, 129, 130, 131, 132, 133)

#undef ATTNC_WGMMA
// clang-format on

}  // namespace attnc::sm90
