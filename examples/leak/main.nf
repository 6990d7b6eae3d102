// Every boat is inspected. One has a leak, and the inspection says so and fails.
params.boats = ['avon', 'severn', 'tyne']
params.leaking = 'severn'

process PAINT {
    tag "$boat"
    input:
    val boat
    output:
    val boat
    script:
    """
    echo "painting $boat"
    sleep 0.5
    """
}

process INSPECT {
    tag "$boat"
    input:
    val boat
    output:
    path 'certificate.txt'
    script:
    """
    echo "inspecting $boat"
    sleep 0.5
    if [ "$boat" = "${params.leaking}" ]; then
        echo "$boat: 3 planks below the water line let water in" >&2
        echo "$boat: repair planks 4, 7 and 9, and have it inspected again" >&2
        exit 3
    fi
    echo "$boat is sound" > certificate.txt
    """
}

workflow {
    Channel.fromList(params.boats) | PAINT | INSPECT
}
