namespace fastimg::FASTIMG_TARGET {

// As many independent sums as it takes to hide how long one takes, and as fit into registers.
constexpr int kIndependentSums = 12;

inline float multiply_adds(double count, int threads) {
    constexpr ptrdiff_t per_task = 1 << 14;  // rounds of all sums
    const ptrdiff_t tasks = ptrdiff_t(std::ceil(count / (double(per_task) * kIndependentSums * kLanes)));
    std::atomic<int> finished{0};
    parallel_for(tasks, threads, [&](ptrdiff_t) {
        Floats sums[kIndependentSums];
        for (Floats& sum : sums) sum = broadcast(1.0f);
        volatile float half = 0.5f;  // volatile, so that the compiler does not know how it ends
        const Floats factor = broadcast(half), addend = broadcast(half);
        for (ptrdiff_t i = 0; i < per_task; ++i)
            for (Floats& sum : sums) sum = sum * factor + addend;
        Floats total{};
        for (const Floats& sum : sums) total += sum;
        finished += total[0] > 0;
    });
    return float(finished);
}

}  // namespace fastimg::FASTIMG_TARGET
