// One pool of threads for the whole library.
//
// A call splits its work into tasks 0 .. count-1. The caller takes tasks like everybody else, so a call never waits for
// threads that do not come; any number of calls may run at once; a call made from inside a task runs serially. After
// fork() the child begins with a fresh pool. Threads are started at first need and never joined.
//
// Tasks are handed out in any order to any thread: for results that do not depend on the number of threads, the
// partition into tasks must follow from shapes alone, and reductions must combine per-task partial results in order.
#pragma once

#include <atomic>
#include <cstddef>

namespace fastimg {

using std::ptrdiff_t;

// What was set, else FASTIMG_NUM_THREADS, else OMP_NUM_THREADS, else the affinity mask, as they were at the first call,
// which throws std::invalid_argument if FASTIMG_NUM_THREADS makes no sense.
int default_threads();
void set_default_threads(int n);  // n >= 1; 0 goes back to the environment

// The tasks of one call that nobody has taken yet.
class Tasks {
public:
    explicit Tasks(ptrdiff_t count) : count_(count) {}
    ptrdiff_t next() {  // the next task, or -1 when none is left
        const ptrdiff_t task = next_.fetch_add(1, std::memory_order_relaxed);
        return task < count_ ? task : -1;
    }
    void cancel() { next_.store(count_, std::memory_order_relaxed); }

private:
    std::atomic<ptrdiff_t> next_{0};
    const ptrdiff_t count_;
};

namespace detail {
void run(ptrdiff_t count, int threads, void (*work)(void* context, Tasks& tasks), void* context);
}

// Every thread that takes part makes one `state = make_state()` (its scratch) and calls `task(i, state)` for the tasks
// it takes. `threads` <= 0 means default_threads(). The first exception thrown is rethrown here, once all have stopped.
template <class MakeState, class Task>
void parallel_for(ptrdiff_t count, int threads, MakeState&& make_state, Task&& task) {
    struct Context {
        MakeState& make_state;
        Task& task;
    } context{make_state, task};
    detail::run(
        count, threads,
        [](void* pointer, Tasks& tasks) {
            auto& [make, body] = *static_cast<Context*>(pointer);
            ptrdiff_t i = tasks.next();
            if (i < 0) return;
            auto state = make();
            for (; i >= 0; i = tasks.next()) body(i, state);
        },
        &context);
}

template <class Task>
void parallel_for(ptrdiff_t count, int threads, Task&& task) {
    struct Nothing {};
    parallel_for(count, threads, [] { return Nothing{}; }, [&task](ptrdiff_t i, Nothing) { task(i); });
}

}  // namespace fastimg

// For threadpoolctl and other languages.
extern "C" {
int fastimg_get_num_threads();
void fastimg_set_num_threads(int n);
}
