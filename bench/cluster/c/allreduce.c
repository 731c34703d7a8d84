/* MPI_Allreduce of floats in place, as a C program calls it. Prints the seconds of each turn on rank 0.
 *
 *   mpicc -O2 -o allreduce allreduce.c && mpirun -n 2 ./allreduce BYTES TURNS
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int rank, turns = argc > 2 ? atoi(argv[2]) : 10;
    int n = (argc > 1 ? atoi(argv[1]) : 64000000) / 4;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    float *x = malloc((size_t)n * sizeof *x);
    for (int i = 0; i < n; i++)
        x[i] = (float)(i % 1000) * 1e-6f;
    for (int t = 0; t < turns + 2; t++) { /* two to warm up */
        MPI_Barrier(MPI_COMM_WORLD);
        double start = MPI_Wtime();
        MPI_Allreduce(MPI_IN_PLACE, x, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        double took = MPI_Wtime() - start, slowest;
        MPI_Reduce(&took, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
        if (rank == 0 && t >= 2)
            printf("seconds %.9f\n", slowest);
        for (int i = 0; i < n; i++)
            x[i] *= 0.5f;
    }
    MPI_Finalize();
    return 0;
}
