#include "thread_pool.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace fastimg {
namespace {

struct Job {
    Job(ptrdiff_t count, int helpers, void (*work)(void*, Tasks&), void* context)
        : tasks(count), work(work), context(context), helpers_wanted(helpers) {}
    Tasks tasks;
    void (*const work)(void*, Tasks&);
    void* const context;
    int helpers_wanted;  // under the pool's mutex, as all below
    int helpers_active = 0;
    std::exception_ptr error;
};

thread_local bool inside_task = false;

// For as long as it lives this thread is inside a task.
class InsideTask {
public:
    InsideTask() : before_(inside_task) { inside_task = true; }
    InsideTask(const InsideTask&) = delete;
    InsideTask& operator=(const InsideTask&) = delete;
    ~InsideTask() { inside_task = before_; }

private:
    const bool before_;
};

class Pool {
public:
    void run(Job& job) {
        const int helpers = job.helpers_wanted;
        {
            std::lock_guard lock(mutex_);
            start_threads(helpers);
            jobs_.push_back(&job);
        }
        if (helpers == 1)
            work_available_.notify_one();
        else
            work_available_.notify_all();
        std::exception_ptr error = take_part(job);
        std::unique_lock lock(mutex_);
        jobs_.remove(&job);
        helper_left_.wait(lock, [&] { return job.helpers_active == 0; });
        if (!error) error = job.error;
        lock.unlock();
        if (error) std::rethrow_exception(error);
    }

    std::mutex& mutex() { return mutex_; }

private:
    // As many as asked for, or as the system grants: with fewer, the others do more.
    void start_threads(int wanted) {
        try {
            for (; started_ < wanted; ++started_) std::thread([this] { serve(); }).detach();
        } catch (const std::system_error&) {
        }
    }

    void serve() {
        std::unique_lock lock(mutex_);
        for (;;) {
            Job* job = nullptr;
            work_available_.wait(lock, [&] { return (job = wanting()) != nullptr; });
            --job->helpers_wanted;
            ++job->helpers_active;
            lock.unlock();
            std::exception_ptr error = take_part(*job);
            lock.lock();
            if (error && !job->error) job->error = error;
            if (--job->helpers_active == 0) helper_left_.notify_all();
        }
    }

    Job* wanting() {
        for (Job* job : jobs_)
            if (job->helpers_wanted > 0) return job;
        return nullptr;
    }

    static std::exception_ptr take_part(Job& job) {
        const InsideTask inside;
        try {
            job.work(job.context, job.tasks);
            return nullptr;
        } catch (...) {
            job.tasks.cancel();
            return std::current_exception();
        }
    }

    std::mutex mutex_;
    std::condition_variable work_available_;
    std::condition_variable helper_left_;
    std::list<Job*> jobs_;
    int started_ = 0;
};

// Never destroyed: its threads may outlive main(). Replaced, not repaired, in the child of a fork(). Made when the
// library is loaded, not at first need: a fork() while another thread makes it would leave the child waiting for ever.
Pool* pool = [] {
    pthread_atfork([] { pool->mutex().lock(); },    //
                   [] { pool->mutex().unlock(); },  //
                   [] {
                       pool = new Pool;
                       inside_task = false;
                   });
    return new Pool;
}();

int affinity_count() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
    return int(std::max(1u, std::thread::hardware_concurrency()));
}

constexpr int kMaxThreads = 1024;

// FASTIMG_NUM_THREADS, or 0 where it is not set.
int own_environment_threads() {
    const char* text = std::getenv("FASTIMG_NUM_THREADS");
    if (text == nullptr || *text == '\0') return 0;
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*end != '\0' || n < 1)
        throw std::invalid_argument("FASTIMG_NUM_THREADS must be a whole number of at least 1, got '" +
                                    std::string(text) + "'");
    return int(std::min<long>(n, kMaxThreads));
}

// OMP_NUM_THREADS, or 0 where it says nothing of use. It may be a list, one number per nesting level.
int openmp_environment_threads() {
    const char* text = std::getenv("OMP_NUM_THREADS");
    return text == nullptr ? 0 : int(std::clamp<long>(std::strtol(text, nullptr, 10), 0, kMaxThreads));
}

int initial_threads() {
    if (const int n = own_environment_threads()) return n;
    if (const int n = openmp_environment_threads()) return n;
    return affinity_count();
}

std::atomic<int> chosen_threads{0};

}  // namespace

int default_threads() {
    if (const int n = chosen_threads.load(std::memory_order_relaxed)) return n;
    static const int initial = initial_threads();
    return initial;
}

void set_default_threads(int n) { chosen_threads.store(std::clamp(n, 0, kMaxThreads), std::memory_order_relaxed); }

namespace detail {

void run(ptrdiff_t count, int threads, void (*work)(void*, Tasks&), void* context) {
    if (count <= 0) return;
    if (threads <= 0) threads = default_threads();
    threads = int(std::min<ptrdiff_t>({threads, count, kMaxThreads}));
    if (threads == 1 || inside_task) {
        const InsideTask inside;
        Tasks tasks(count);
        work(context, tasks);
        return;
    }
    Job job(count, threads - 1, work, context);
    pool->run(job);
}

}  // namespace detail
}  // namespace fastimg

extern "C" {
__attribute__((visibility("default"))) int fastimg_get_num_threads() { return fastimg::default_threads(); }
__attribute__((visibility("default"))) void fastimg_set_num_threads(int n) { fastimg::set_default_threads(n); }
}
