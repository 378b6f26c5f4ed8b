// SPDX-License-Identifier: Apache-2.0
// A concurrent map from canonical signatures to immutable values, for things that are expensive to make and used often:
// loaded kernels. A lookup that hits takes no lock and waits for nobody.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "runtime/cache/digest.h"

namespace attnc {

/// Thread-safe throughout. Values are shared: erasing one does not take it from those who hold it.
///
/// Keys are never freed before the map is (a few hundred bytes each, for something that took a second to compile);
/// values and failures are freed as soon as nobody looks at them.
///
/// After fork() the child may go on using the map, whatever other threads of the parent were doing: there is no mutex
/// that could stay locked, and a value that was being made by a thread that the child does not have is made anew.
///
/// Structure: a fixed array of buckets, each a list that is only ever pushed to. A node points to its current `Attempt`
/// at making the value; `visitors` counts who may hold such a pointer, and attempts taken out of a node are freed by
/// the last visitor to leave (deferred reclamation as in RCU, with a counter for a grace period).
template <class T>
class SignatureMap {
 public:
  using Value = std::shared_ptr<T>;

  SignatureMap() = default;
  SignatureMap(const SignatureMap&) = delete;
  SignatureMap& operator=(const SignatureMap&) = delete;

  ~SignatureMap() {
    for (std::atomic<Node*>& bucket : buckets_) {
      for (Node* node = bucket.load(std::memory_order_acquire); node != nullptr;) {
        delete node->current.load(std::memory_order_acquire);
        free_list(node->retired.load(std::memory_order_acquire));
        delete std::exchange(node, node->next);
      }
    }
  }

  /// The value, or null if there is none (yet). Never waits.
  Value find(std::string_view signature) const {
    Node* node = find_node(signature, cache::hash64(signature));
    if (node == nullptr) return nullptr;
    const Visit visit(*node);
    const Attempt* attempt = node->current.load();
    if (attempt == nullptr || attempt->state.load(std::memory_order_acquire) != State::ready) return nullptr;
    return attempt->value;
  }

  /// The value; made by `make()` (returning Value, not null) if there is none. Of concurrent callers one makes it and
  /// the others wait. An exception of make() reaches the caller and all who wait, and is not remembered. Throws
  /// std::logic_error if make() asks for the same signature itself, or returns null.
  template <class Make>
  Value get_or_make(std::string_view signature, Make&& make) {
    if (Value value = find(signature)) return value;
    Node& node = *insert_node(signature);
    const Visit visit(node);
    for (;;) {
      Attempt* attempt = node.current.load();
      if (attempt != nullptr) {
        if (attempt->state.load(std::memory_order_acquire) == State::ready) return attempt->value;
        if (attempt->maker_process == ::getpid()) {
          if (attempt->maker_thread == std::this_thread::get_id()) {
            throw std::logic_error("attnc: a kernel asks for itself while it is compiled");
          }
          attempt->state.wait(State::making, std::memory_order_acquire);
          if (attempt->state.load(std::memory_order_acquire) == State::ready) return attempt->value;
          std::rethrow_exception(attempt->error);
        }
        // Its maker is a thread of our parent process and will never finish here.
      }
      auto fresh = std::make_unique<Attempt>();
      if (!node.current.compare_exchange_strong(attempt, fresh.get())) continue;
      if (attempt != nullptr) retire(node, attempt);
      return run(node, fresh.release(), std::forward<Make>(make));
    }
  }

  /// Forgets the value, if it is `expected` (any, if null). False if there was nothing to forget.
  bool erase(std::string_view signature, const Value& expected = nullptr) {
    Node* node = find_node(signature, cache::hash64(signature));
    return node != nullptr && erase(*node, expected);
  }

  /// Forgets all values; those being made are not disturbed.
  void clear() {
    for (std::atomic<Node*>& bucket : buckets_) {
      for (Node* node = bucket.load(std::memory_order_acquire); node != nullptr; node = node->next)
        erase(*node, nullptr);
    }
  }

  /// Number of values. Others may be adding some meanwhile.
  size_t size() const {
    size_t count = 0;
    for (const std::atomic<Node*>& bucket : buckets_) {
      for (Node* node = bucket.load(std::memory_order_acquire); node != nullptr; node = node->next) {
        const Visit visit(*node);
        const Attempt* attempt = node->current.load();
        count += attempt != nullptr && attempt->state.load(std::memory_order_acquire) == State::ready;
      }
    }
    return count;
  }

 private:
  enum class State : int { making, ready, failed };

  struct Attempt {
    const pid_t maker_process = ::getpid();
    const std::thread::id maker_thread = std::this_thread::get_id();
    std::atomic<State> state{State::making};
    Value value;               // written before state becomes ready
    std::exception_ptr error;  // written before state becomes failed
    Attempt* next_retired = nullptr;
  };

  struct Node {
    Node(std::string_view text, uint64_t text_hash) : hash(text_hash), signature(text) {}
    const uint64_t hash;
    const std::string signature;
    Node* next = nullptr;
    // The two below are sequentially consistent: reclamation relies on "unlinked, then nobody visits".
    std::atomic<Attempt*> current{nullptr};
    std::atomic<int> visitors{0};
    std::atomic<Attempt*> retired{nullptr};
  };

  /// While it lives, no attempt of the node that was reachable is freed.
  class Visit {
   public:
    explicit Visit(Node& node) : node_(node) { node_.visitors.fetch_add(1); }
    ~Visit() {
      if (node_.retired.load() != nullptr) reclaim(node_);
      node_.visitors.fetch_sub(1);
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    Node& node_;
  };

  static void free_list(Attempt* attempt) {
    while (attempt != nullptr) delete std::exchange(attempt, attempt->next_retired);
  }

  static void retire(Node& node, Attempt* attempt) {
    attempt->next_retired = node.retired.load();
    while (!node.retired.compare_exchange_weak(attempt->next_retired, attempt)) {
    }
  }

  // Called by a visitor. All attempts taken here were unlinked before, so who arrives later cannot reach them; if the
  // caller is alone now, nobody can.
  static void reclaim(Node& node) {
    Attempt* list = node.retired.exchange(nullptr);
    if (node.visitors.load() == 1) return free_list(list);
    while (list != nullptr) retire(node, std::exchange(list, list->next_retired));
  }

  bool erase(Node& node, const Value& expected) {
    const Visit visit(node);
    Attempt* attempt = node.current.load();
    if (attempt == nullptr || attempt->state.load(std::memory_order_acquire) != State::ready) return false;
    if (expected != nullptr && attempt->value != expected) return false;
    if (!node.current.compare_exchange_strong(attempt, nullptr)) return false;
    retire(node, attempt);
    return true;
  }

  template <class Make>
  static Value run(Node& node, Attempt* mine, Make&& make) {
    // The caller visits the node, so `mine` outlives this function even if it is erased.
    try {
      mine->value = make();
      if (mine->value == nullptr) throw std::logic_error("attnc: no value was made");
    } catch (...) {
      mine->error = std::current_exception();
      Attempt* expected = mine;
      if (node.current.compare_exchange_strong(expected, nullptr)) retire(node, mine);
      mine->state.store(State::failed, std::memory_order_release);
      mine->state.notify_all();
      throw;
    }
    mine->state.store(State::ready, std::memory_order_release);
    mine->state.notify_all();
    return mine->value;
  }

  std::atomic<Node*>& bucket(uint64_t hash) { return buckets_[hash % kBuckets]; }
  const std::atomic<Node*>& bucket(uint64_t hash) const { return buckets_[hash % kBuckets]; }

  static Node* find_in(Node* node, std::string_view signature, uint64_t hash) {
    while (node != nullptr && (node->hash != hash || node->signature != signature)) node = node->next;
    return node;
  }

  Node* find_node(std::string_view signature, uint64_t hash) const {
    return find_in(bucket(hash).load(std::memory_order_acquire), signature, hash);
  }

  Node* insert_node(std::string_view signature) {
    const uint64_t hash = cache::hash64(signature);
    std::unique_ptr<Node> fresh;
    Node* head = bucket(hash).load(std::memory_order_acquire);
    for (;;) {
      if (Node* node = find_in(head, signature, hash)) return node;
      if (!fresh) fresh = std::make_unique<Node>(signature, hash);
      fresh->next = head;
      if (bucket(hash).compare_exchange_weak(head, fresh.get(), std::memory_order_release, std::memory_order_acquire)) {
        return fresh.release();
      }
    }
  }

  static constexpr size_t kBuckets = 1024;  // 8 KB; a process uses tens to thousands of kernels
  std::array<std::atomic<Node*>, kBuckets> buckets_{};
};

}  // namespace attnc
